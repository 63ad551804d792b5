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


@jax.jit
def _all_finite(tree: Any) -> jax.Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def are_finite(params: Any) -> bool:
    """Returns whether there is no NaN and no infinity among the parameters. All processes have to ask.

    >>> are_finite({"w": jnp.ones(2)}), are_finite({"w": jnp.ones(2), "b": jnp.array([0.0, jnp.nan])})
    (True, False)
    """
    return bool(_all_finite(params))


def init(model: Model, tx: optax.GradientTransformation, key: jax.Array) -> State:
    """Returns the state before the first step."""
    params = model.init(key)
    return State(params, tx.init(params), jnp.zeros((), jnp.int32))
