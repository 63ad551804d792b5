"""Loss and accuracy over every example of a split, each counted once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.layers.softmax import softmax
from jbackprop.layers.softmax_cross_entropy import softmax_cross_entropy_fwd
from jbackprop.training.data import Split
from jbackprop.training.model import Model

BATCH = 512


class Evaluation(NamedTuple):
    """Mean loss, share of right answers, and the number of examples behind both."""

    loss: float
    accuracy: float
    examples: int


def probabilities(model: Model, params: Any, images: jax.Array) -> np.ndarray:
    """Returns the network's probability of each class `(n, classes)` for uint8 images `(n, h, w, c)`."""
    return np.asarray(
        jax.jit(lambda params, images: softmax(model.logits(params, model.prepare(images))))(params, images)
    )


def make_evaluate(model: Model, batch: int = BATCH) -> Callable[..., Evaluation]:
    """Returns `(params, split) -> Evaluation`. The last batch is filled up with examples of weight 0."""

    @jax.jit
    def sums(params, split: Split, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = start + jnp.arange(batch, dtype=jnp.int32)
        counts = rows < split.labels.size
        images = jnp.take(split.images, rows, axis=0, mode="clip")
        labels = jnp.take(split.labels, rows, axis=0, mode="clip")
        logits = model.logits(params, model.prepare(images))
        losses, _ = softmax_cross_entropy_fwd(logits, labels, "none")
        right = jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels
        return jnp.sum(jnp.where(counts, losses, 0)), jnp.sum(counts & right)

    def evaluate(params, split: Split) -> Evaluation:
        examples = split.labels.size
        parts = [sums(params, split, np.int32(start)) for start in range(0, examples, batch)]
        loss = sum(float(part[0]) for part in parts)
        right = sum(int(part[1]) for part in parts)
        return Evaluation(loss / examples, right / examples, examples)

    return evaluate
