"""The three gradients of a network, by name."""

from collections.abc import Callable
from typing import Any

import jax

from jbackprop.training.config import Gradient
from jbackprop.training.model import Model
from jbackprop.verify.automatic import automatic

LossAndGrads = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Any]]
NAMES: tuple[Gradient, ...] = ("explicit", "rules", "automatic")


def loss_and_grads(name: Gradient, model: Model) -> LossAndGrads:
    """Returns `(params, x, y) -> (loss, grads)`.

    `explicit` is the network's backward pass written out, `rules` is `jax.grad` through the layers' own rules,
    `automatic` is `jax.grad` with every rule removed.
    """
    match name:
        case "explicit":
            return model.loss_and_grads
        case "rules":
            return jax.value_and_grad(model.loss)
        case "automatic":
            return jax.value_and_grad(automatic(model.loss))
