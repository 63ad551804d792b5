"""A split of a data set: two arrays on the device, or two that stay in their files and are read as they are indexed."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

BLOCK = 8192  # examples that an evaluation has on the device at a time


class DataError(Exception):
    """Data cannot be prepared or read. The message says which folder or file, and what to do."""


class Split(NamedTuple):
    """Images `(n, h, w, c)` as uint8 and labels `(n,)` as int32, on the device."""

    images: jax.Array
    labels: jax.Array


@dataclass(frozen=True, eq=False)
class Column:
    """The images or the labels of a split in its files: what is indexed is read, and nothing else.

    A record holds both: who wants both of the same rows asks `taken`, which reads them once.
    """

    records: Any
    part: int
    shape: tuple[int, ...]
    dtype: Any

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __getitem__(self, rows: Any) -> np.ndarray:
        wanted = np.arange(self.shape[0])[rows]
        return self.records.labels(wanted) if self.part else self.records.read(wanted)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def columns(builder: Any, split: str) -> Split:
    """Returns a prepared split whose arrays stay in their files. Raises `DataError` where these cannot be opened."""
    from jbackprop.training.records import opened  # 0.4 s: tensorflow-datasets

    try:
        return of_records(opened(builder, split))
    except Exception as error:  # as in records.py
        raise DataError(
            f"{builder.info.name}: the {split} split in {builder.data_dir} cannot be read "
            f"({type(error).__name__}: {error}). Remove that folder and run again"
        ) from error


def of_records(records: Any) -> Split:
    """Returns the split of these `records.Records`."""
    examples = len(records.rows)
    images: Any = Column(records, 0, (examples, *records.shape), np.dtype(np.uint8))
    labels: Any = Column(records, 1, (examples,), np.dtype(np.int32))
    return Split(images, labels)


def only(split: Split, rows: np.ndarray) -> Split:
    """Returns these rows of a split that lies in its files, without reading them."""
    images: Any = split.images
    records = images.records
    return of_records(records._replace(rows=records.rows[rows]))


def streams(split: Split) -> bool:
    """Whether the split's arrays are in their files."""
    return isinstance(split.images, Column)


def taken(split: Split, rows: Any) -> Split:
    """Returns these rows of a split as NumPy arrays. Of one that lies in its files each record is read once."""
    images: Any
    labels: Any
    images, labels = split
    if streams(split):
        images, labels = images.records.read(np.arange(images.shape[0])[rows])
    else:
        images, labels = np.asarray(images)[rows], np.asarray(labels)[rows]
    return Split(images, labels)


def blocks(split: Split) -> Iterator[Split]:
    """Yields the split in order, in blocks that fit on the device, as NumPy arrays."""
    if not streams(split):
        split = taken(split, slice(None))  # once, where it lies on an accelerator
    examples = split.labels.size
    for start in range(0, examples, BLOCK):
        yield taken(split, slice(start, min(start + BLOCK, examples)))
