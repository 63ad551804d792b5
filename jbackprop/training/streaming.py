"""Data that does not fit on the device: read from the prepared files by grain, while the device computes.

The batches are those of `shuffled_batches`, so that a run is the same run wherever its data lies. A process reads only
the rows of its own devices.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jbackprop.training.data import DataError, Split
from jbackprop.training.evaluate import Evaluation
from jbackprop.training.mesh import Layout, placed_split

THREADS = 4
AHEAD = 8  # batches
BLOCK = 8192  # examples that an evaluation has on the device at a time


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


def batches(split: Split, order: np.ndarray) -> Any:
    """Returns grain's iterator over the batches of the rows `order` `(steps, batch)`, each a `Split` of NumPy arrays.

    Threads read a few batches ahead. `get_state()` is the position, and `set_state(state)` goes back there.
    """
    import grain  # 2 s

    read = grain.MapDataset.range(len(order)).map(lambda i: taken(split, order[i]))
    return iter(read.to_iter_dataset(grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)))


def local_rows(layout: Layout | None, batch_size: int) -> np.ndarray:
    """Returns which rows of a batch the devices of this process hold, in order."""
    if layout is None:
        return np.arange(batch_size)
    held = layout.at("data").addressable_devices_indices_map((batch_size,)).values()
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in held if index is not None]))


def on_devices(batch: Split, layout: Layout | None, batch_size: int) -> Split:
    """Returns the whole batch on the devices, of the rows that each process has read."""
    if layout is None:
        return Split(*jax.device_put(tuple(batch)))
    place = layout.at("data")
    images, labels = (
        jax.make_array_from_process_local_data(place, part, (batch_size, *part.shape[1:])) for part in batch
    )
    return Split(images, labels)


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


def in_blocks(evaluate: Callable[..., Evaluation], layout: Layout | None) -> Callable[..., Evaluation]:
    """Returns the same evaluation, which reads a split that lies in its files block by block."""

    def of_blocks(params: Any, split: Split) -> Evaluation:
        if not streams(split):
            return evaluate(params, split)
        parts = [evaluate(params, block if layout is None else placed_split(block, layout)) for block in blocks(split)]
        examples = sum(part.examples for part in parts)
        loss = sum(part.loss * part.examples for part in parts) / examples
        confusion = np.sum([part.confusion for part in parts], axis=0)
        return Evaluation(loss, int(confusion.trace()) / examples, examples, confusion)

    return of_blocks
