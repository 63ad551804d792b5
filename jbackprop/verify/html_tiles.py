"""Arrays of any number of axes laid out in two: a matrix as it is, a batch or a kernel as a grid of tiles."""

import math
from typing import NamedTuple

import numpy as np

MOST_TILES = 16  # in a row or a column
ELEMENTS = 128  # across several tiles
LARGEST_TILE = 256  # elements
NOTHING = -np.inf  # in the place of a tile: data that are not finite are NaN in a picture
KERNEL = 11  # the largest side of what is taken for a convolution kernel


class Layout(NamedTuple):
    """How an array of one shape is shown: its tiles, those of them that are kept, and how many elements are one."""

    axes: tuple[int, ...]  # the array's axes as rows of tiles, columns of tiles, rows, columns
    shape: tuple[int, int, int, int]
    kept: tuple[np.ndarray, np.ndarray]
    columns: int  # a single row of tiles is broken into rows of so many
    block: tuple[int, int]
    sentences: tuple[str, ...]  # what a reader has to know


def layout(differences: np.ndarray) -> Layout:
    """Returns the layout for arrays of this shape; of too many tiles those with the largest differences are kept.

    >>> layout(np.zeros((3, 3, 2, 4))).sentences
    ('A grid of 2 x 4 tiles of 3 x 3: taken for a kernel HWIO, i downward and o across.',)
    """
    axes, shape, sentence = _four_axes(differences.shape)
    if shape[1] == 1:
        shape = (1, shape[0], *shape[2:])
    tiles = np.abs(np.where(np.isfinite(differences), differences, np.inf)).transpose(axes).reshape(shape)
    largest = tiles.max(axis=(2, 3))
    many = max(shape[:2]) > 1
    kept, sentences = [], [sentence] if sentence else []
    for axis, side in ((0, shape[2]), (1, shape[3])):
        most = MOST_TILES if shape[0] == 1 else int(np.clip(ELEMENTS // side, 2, MOST_TILES))
        worst_first = np.argsort(-largest.max(axis=1 - axis), kind="stable")
        kept.append(np.sort(worst_first[:most]))
        if shape[axis] > most:
            what = "tiles" if shape[0] == 1 else ("rows of tiles", "columns of tiles")[axis]
            sentences.append(f"Shown: {most} of {shape[axis]} {what}, where the two differ most.")
    sides = [min(side, ELEMENTS if many else LARGEST_TILE) for side in shape[2:]]
    block = (math.ceil(shape[2] / sides[0]), math.ceil(shape[3] / sides[1]))
    if block != (1, 1):
        sentences.append(f"Each cell is the element largest in size of a block of {block[0]} x {block[1]}.")
    columns = _columns(len(kept[1]), shape) if shape[0] == 1 else len(kept[1])
    return Layout(axes, shape, (kept[0], kept[1]), columns, block, tuple(sentences))


def tiles_of(array: np.ndarray, plan: Layout) -> np.ndarray:
    """Returns the array's tiles that the layout keeps, with four axes; NaN where not finite, `NOTHING` for no tile."""
    finite = np.where(np.isfinite(array), array, np.nan)
    tiles = finite.transpose(plan.axes).reshape(plan.shape)[plan.kept[0]][:, plan.kept[1]]
    tiles = _largest_of_blocks(tiles, plan.block)
    if tiles.shape[1] <= plan.columns:
        return tiles
    lacking = -tiles.shape[1] % plan.columns
    padded = np.pad(tiles[0], ((0, lacking), (0, 0), (0, 0)), constant_values=NOTHING)
    return padded.reshape(-1, plan.columns, *tiles.shape[2:])


def _columns(count: int, shape: tuple[int, int, int, int]) -> int:
    """As many tiles in a row as make the picture about square."""
    return count if count <= 4 else int(np.clip(np.ceil(np.sqrt(count * shape[2] / shape[3])), 1, count))


def _four_axes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int, int, int], str]:
    axes = tuple(range(len(shape)))
    if len(shape) <= 2:
        padded = (1,) * (4 - len(shape)) + shape
        return axes, (padded[0], padded[1], padded[2], padded[3]), ""
    if len(shape) == 3:
        n, a, b = shape
        if b <= 4 < min(n, a):
            return (2, 0, 1), (1, b, n, a), f"{b} tiles of {n} x {a}, one for each element of the last axis."
        return axes, (1, n, a, b), f"{n} tiles of {a} x {b}, one for each element of the first axis."
    if len(shape) > 4:
        a, b, c = shape[-3:]
        n = math.prod(shape[:-3])
        return axes, (n, a, b, c), f"A grid of {n} x {a} tiles of {b} x {c}, the last two axes."
    return _four_given(shape)


def _four_given(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, int, int, int], str]:
    a, b, c, d = shape
    if a == b <= KERNEL or (max(a, b) <= KERNEL and b != c and c != d):
        words = f"A grid of {c} x {d} tiles of {a} x {b}: taken for a kernel HWIO, i downward and o across."
        return (2, 3, 0, 1), (c, d, a, b), words
    if c == d != b:
        words = f"A grid of {a} x {b} tiles of {c} x {d}: the first axis downward, the second across."
        return (0, 1, 2, 3), (a, b, c, d), words
    words = f"A grid of {a} x {d} tiles of {b} x {c}: taken for images NHWC, n downward and c across."
    return (0, 3, 1, 2), (a, d, b, c), words


def _largest_of_blocks(tiles: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Keeps the element of largest size of each block with its sign, so that no single wrong one is lost; NaN wins."""
    if block == (1, 1):
        return tiles
    rows, columns, height, width = tiles.shape
    tall, wide = math.ceil(height / block[0]), math.ceil(width / block[1])
    extra = ((0, 0), (0, 0), (0, tall * block[0] - height), (0, wide * block[1] - width))
    blocks = np.pad(tiles, extra).reshape(rows, columns, tall, block[0], wide, block[1])
    blocks = blocks.transpose(0, 1, 2, 4, 3, 5).reshape(rows, columns, tall, wide, -1)
    size = np.where(np.isfinite(blocks), np.abs(blocks), np.inf)
    return np.take_along_axis(blocks, size.argmax(axis=-1)[..., None], axis=-1)[..., 0]
