"""The three gradients of a network, by name."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jbackprop.training.config import Gradient
from jbackprop.training.model import Model
from jbackprop.verify.automatic import automatic

LossAndGrads = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Any]]
NAMES: tuple[Gradient, ...] = ("explicit", "rules", "automatic")


def loss_and_grads(name: Gradient, model: Model, accumulate: int = 1) -> LossAndGrads:
    """Returns `(params, x, y) -> (loss, grads)`, of the batch in `accumulate` parts.

    `explicit` is the network's backward pass written out, `rules` is `jax.grad` through the layers' own rules,
    `automatic` is `jax.grad` with every rule removed.
    """
    match name:
        case "explicit":
            return accumulated(model.loss_and_grads, accumulate)
        case "rules":
            return accumulated(jax.value_and_grad(model.loss), accumulate)
        case "automatic":
            return accumulated(jax.value_and_grad(automatic(model.loss)), accumulate)


def accumulated(whole: LossAndGrads, parts: int) -> LossAndGrads:
    """Returns the same means over a batch computed part by part, each as large; the memory is that of one part."""
    if parts == 1:
        return whole

    def cut(batch: jax.Array) -> jax.Array:
        # every parts-th example: where devices share the batch, each then holds its share of every part
        return jnp.moveaxis(batch.reshape(-1, parts, *batch.shape[1:]), 1, 0)

    def in_parts(params: Any, x: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        def add(sums: Any, part: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, sums, whole(params, *part)), None

        zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(whole, params, x, labels))
        sums, _ = jax.lax.scan(add, zeros, (cut(x), cut(labels)))
        return jax.tree.map(lambda leaf: leaf / parts, sums)

    return in_parts
