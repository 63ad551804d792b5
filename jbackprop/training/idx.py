"""Reading IDX files, the format of MNIST: a magic number, the size of each axis, then the bytes. Plain or gzipped."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jbackprop.training.data import DataError

GZIP = b"\x1f\x8b"
UNSIGNED_BYTE = 8  # the element type, third byte of the magic number; the fourth is the number of axes


def unpacked(content: bytes, path: Path) -> bytes:
    """Returns the content of a file, unpacked where it is gzipped, whatever the file is called.

    Raises `DataError` where it is truncated or damaged.

    >>> unpacked(gzip.compress(b"pixels"), Path("images.gz"))
    b'pixels'
    """
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except EOFError as error:
        raise DataError(f"{path}: the gzip file is truncated ({len(content):,} bytes)") from error
    except (OSError, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged ({error})") from error


def array(content: bytes, path: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """Returns the unsigned bytes of an unpacked IDX file as an array of `axes` axes.

    The file is `0, 0, 8, axes`, then each axis's size as a big-endian 32-bit integer, then the elements. Raises
    `DataError` where it is anything else.

    >>> array(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]), Path("labels"), axes=1)
    array([7, 2, 1], dtype=uint8)
    """
    wanted = UNSIGNED_BYTE << 8 | axes
    start = 4 + 4 * axes
    magic = int.from_bytes(content[:4], "big")
    if len(content) >= 4 and magic != wanted:
        raise DataError(f"{path}: not an IDX file of {axes} axes: its magic number is {magic}, wanted {wanted}")
    if len(content) < start:
        raise DataError(
            f"{path}: truncated: {len(content)} bytes, the header of an IDX file of {axes} axes has {start}"
        )
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    found, promised = len(content) - start, math.prod(shape)
    if found != promised:
        what = "truncated" if found < promised else "too long"
        sizes = " x ".join(map(str, shape))
        raise DataError(f"{path}: {what}: {found:,} bytes follow its header, which promises {sizes} = {promised:,}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
