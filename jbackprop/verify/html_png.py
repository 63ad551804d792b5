"""Arrays as PNG pictures inside a page: blue below zero, orange above, and the paper's own colour at zero."""

import base64
import struct
import zlib

import numpy as np

NEGATIVE, POSITIVE = (37, 99, 235), (225, 87, 12)
LEVELS = 120  # of each colour
GAP, NAN, NAN_STRIPE = 2 * LEVELS + 1, 2 * LEVELS + 2, 2 * LEVELS + 3
LONGEST_SIDE, LARGEST_CELL, GAP_WIDTH = 360, 24, 4  # in pixels


def picture(tiles: np.ndarray, scale: float) -> tuple[str, int, int]:
    """Returns a data URI with its width and height; `scale` is the full colour, NaN striped, -inf no tile.

    `tiles` has four axes: rows of tiles, columns of tiles, rows, columns.

    >>> uri, width, height = picture(np.eye(2)[None, None], 1.0)
    >>> uri[:22], width, height
    ('data:image/png;base64,', 48, 48)
    """
    rows, columns, tall, wide = tiles.shape
    finite = np.isfinite(tiles)
    share = np.clip(np.where(finite, tiles, 0) / (scale if scale > 0 else 1.0), -1, 1)
    cells = np.where(finite, np.rint(share * LEVELS) + LEVELS, np.where(np.isneginf(tiles), GAP, NAN)).astype(np.uint8)
    across, down = _cell_size((rows * tall, columns * wide), (rows - 1, columns - 1))
    cells = np.repeat(np.repeat(cells, down, axis=2), across, axis=3)
    framed = np.pad(cells, ((0, 0), (0, 0), (0, GAP_WIDTH), (0, GAP_WIDTH)), constant_values=GAP)
    size = (rows * framed.shape[2], columns * framed.shape[3])
    pixels = framed.transpose(0, 2, 1, 3).reshape(size)[:-GAP_WIDTH, :-GAP_WIDTH]
    y, x = np.indices(pixels.shape)
    striped = np.where((pixels == NAN) & ((y + x) // 3 % 2 == 0), NAN_STRIPE, pixels).astype(np.uint8)
    encoded = base64.b64encode(png(striped)).decode()
    return f"data:image/png;base64,{encoded}", pixels.shape[1], pixels.shape[0]


def png(pixels: np.ndarray) -> bytes:
    """Returns the PNG file of a picture whose pixels are indices of our palette."""
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, indexed colours
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels], axis=1)  # each line says: not filtered
    colours = [*[NEGATIVE] * LEVELS, *[POSITIVE] * (LEVELS + 1), (128, 128, 128), (250, 204, 21), (30, 30, 30)]
    alphas = [*(round(255 * abs(level) / LEVELS) for level in range(-LEVELS, LEVELS + 1)), 70, 255, 255]
    chunks = [
        (b"IHDR", header),
        (b"PLTE", bytes(np.array(colours, np.uint8).tobytes())),
        (b"tRNS", bytes(alphas)),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _cell_size(elements: tuple[int, int], gaps: tuple[int, int]) -> tuple[int, int]:
    """Pixels of one element across and down: square, unless the picture would be a thread."""
    down, across = (
        int(np.clip((LONGEST_SIDE - between * GAP_WIDTH) // side, 1, LARGEST_CELL))
        for side, between in zip(elements, gaps, strict=True)
    )
    if max(elements) > 4 * min(elements):
        return across, down
    return min(across, down), min(across, down)
