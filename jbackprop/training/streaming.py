"""Data that does not fit on the device: read from the prepared files by grain, while the device computes.

The batches are those of `shuffled_batches`, so that a run is the same run wherever its data lies. A process reads only
the rows of its own devices.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jbackprop.training.evaluate import Evaluation
from jbackprop.training.mesh import Layout, placed_split
from jbackprop.training.split import Split, blocks, streams, taken

THREADS = 4
AHEAD = 8  # batches


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
