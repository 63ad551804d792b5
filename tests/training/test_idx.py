"""Reading IDX files: the format, and every way in which a file can be bad."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from jbackprop.training.data import DataError
from jbackprop.training.idx import array, unpacked

PATH = Path("folder", "train-images-idx3-ubyte.gz")
# written out by hand: two images of 2 x 3
CONTENT = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255])


def test_axes_and_elements():
    expected = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 255]]]
    np.testing.assert_array_equal(array(CONTENT, PATH, axes=3), np.array(expected, np.uint8), strict=True)


def test_gzipped_and_plain_are_told_apart_by_content():
    assert unpacked(gzip.compress(CONTENT), Path("no-suffix")) == CONTENT
    assert unpacked(CONTENT, Path("packed.gz")) == CONTENT


@pytest.mark.parametrize("length", [2, 12, 30, -9, -1])
def test_a_truncated_gzip_is_refused(length):
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: the gzip file is truncated"):
        unpacked(gzip.compress(CONTENT)[:length], PATH)


@pytest.mark.parametrize("position", [2, 11, 25, -8, -1])
def test_a_corrupt_gzip_is_refused(position):
    content = bytearray(gzip.compress(CONTENT))
    content[position] ^= 0xFF
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: the gzip file is (damaged|truncated)"):
        unpacked(bytes(content), PATH)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated: 0 bytes, the header"),
        (CONTENT[:3], "truncated: 3 bytes, the header"),
        (CONTENT[:15], "truncated: 15 bytes, the header of an IDX file of 3 axes has 16"),
        (CONTENT[:-1], r"truncated: 11 bytes follow its header, which promises 2 x 2 x 3 = 12"),
        (CONTENT + b"\0", r"too long: 13 bytes follow its header"),
        (struct.pack(">IIII", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1), "truncated: 0 bytes follow its header"),
        (struct.pack(">II", 0x801, 0), "its magic number is 2049, wanted 2051"),
        (struct.pack(">I", 0xD03) + CONTENT[4:], "its magic number is 3331, wanted 2051"),
        (b"<html>not found</html>", "not an IDX file of 3 axes: its magic number is"),
    ],
)
def test_what_is_not_such_a_file_is_refused(content, reason):
    with pytest.raises(DataError, match=rf"train-images-idx3-ubyte\.gz: .*{reason}"):
        array(content, PATH, axes=3)
