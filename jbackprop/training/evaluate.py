"""Loss, accuracy and confusion matrix over every example of a split, each counted once."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.networks.costs import one_hot
from jbackprop.training.compiler import NONE, Options
from jbackprop.training.data import Split
from jbackprop.training.model import Model

BATCH = 512


class Evaluation(NamedTuple):
    """Mean loss, without the penalty on the weights, share of right answers, and the number of examples behind both.

    `confusion[i, j]` is how many examples of class i the network took for class j, int64 `(classes, classes)`.
    """

    loss: float
    accuracy: float
    examples: int
    confusion: np.ndarray

    @property
    def per_class_accuracy(self) -> np.ndarray:
        """Share of right answers among the examples of each class `(classes,)`; NaN for a class without examples.

        >>> Evaluation(0.5, 0.75, 4, np.array([[2, 0], [1, 1]])).per_class_accuracy.tolist()
        [1.0, 0.5]
        """
        there = self.confusion.sum(axis=1)
        return np.divide(self.confusion.diagonal(), there, out=np.full(len(there), np.nan), where=there > 0)


def probabilities(model: Model, params: Any, images: jax.Array, batch: int = BATCH) -> np.ndarray:
    """Returns the network's probability of each class `(n, classes)` for uint8 images `(n, h, w, c)`."""
    size = min(batch, len(images))

    @jax.jit
    def outputs(params: Any, images: jax.Array, start: jax.Array) -> jax.Array:
        rows = start + jnp.arange(size, dtype=jnp.int32)
        some = jnp.take(images, rows, axis=0, mode="clip")
        return model.outputs(model.logits(params, model.prepare(some)))

    parts = [np.asarray(outputs(params, images, np.int32(start))) for start in range(0, len(images), size)]
    return np.concatenate(parts)[: len(images)]


def make_evaluate(model: Model, batch: int = BATCH, options: Options = NONE) -> Callable[..., Evaluation]:
    """Returns `(params, split) -> Evaluation`. The last batch is filled up with examples of weight 0.

    `options` are those of `compiler.py`.
    """

    @partial(jax.jit, **options)
    def sums(params, split: Split, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = start + jnp.arange(batch, dtype=jnp.int32)
        counts = rows < split.labels.size
        images = jnp.take(split.images, rows, axis=0, mode="clip")
        labels = jnp.take(split.labels, rows, axis=0, mode="clip")
        logits = model.logits(params, model.prepare(images))
        found = one_hot(jnp.argmax(logits, axis=-1).astype(labels.dtype), logits.shape[-1], jnp.int32)
        there = jnp.where(counts[:, None], one_hot(labels, logits.shape[-1], jnp.int32), 0)
        return jnp.sum(jnp.where(counts, model.losses(logits, labels), 0)), there.T @ found

    def evaluate(params, split: Split) -> Evaluation:
        examples = split.labels.size
        # all batches are under way before the first result is waited for
        parts = jax.device_get([sums(params, split, np.int32(start)) for start in range(0, examples, batch)])
        loss = sum(float(part[0]) for part in parts)
        confusion = np.stack([part[1] for part in parts]).sum(axis=0, dtype=np.int64)
        return Evaluation(loss / examples, int(confusion.trace()) / examples, examples, confusion)

    return evaluate
