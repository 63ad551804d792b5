"""What changes while a network is trained."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jbackprop.training.model import Model


class State(NamedTuple):
    """Parameters, the optimiser's state and the number of steps taken (int32, `()`)."""

    params: Any
    opt_state: Any
    step: jax.Array


def init(model: Model, tx: optax.GradientTransformation, key: jax.Array) -> State:
    """Returns the state before the first step."""
    params = model.init(key)
    return State(params, tx.init(params), jnp.zeros((), jnp.int32))
