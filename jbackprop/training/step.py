"""One training step, and the order of the examples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jbackprop.training.check import Check
from jbackprop.training.data import Split
from jbackprop.training.gradient import LossAndGrads
from jbackprop.training.state import State

Step = Callable[[State, Split, jax.Array | None], tuple[State, Any]]
"""`(state, split, rows) -> (state, loss)`; one batch is the rows `(batch,)` of the split, or with None all of it. With
a check of the gradient, `(loss, disagreement)` takes the place of `loss`."""


def make_step(
    gradient: LossAndGrads, tx: optax.GradientTransformation, prepare: Callable, check: Check | None = None
) -> Step:
    """Returns one step of the optimiser as a pure function. `prepare` turns uint8 images into the network's input."""

    def step(state: State, split: Split, rows: jax.Array | None) -> tuple[State, Any]:
        # the rows are a permutation: "clip" leaves out the bounds check and the masking of jnp.take's default
        batch = split if rows is None else (jnp.take(part, rows, axis=0, mode="clip") for part in split)
        images, labels = batch
        x = prepare(images)
        loss, grads = gradient(state.params, x, labels)
        logged = (loss, check(state.step, state.params, x, labels, grads)) if check else loss
        with jax.numpy_dtype_promotion("standard"):  # optax.adam raises a float to an int32, which "strict" refuses
            updates, opt_state = tx.update(grads, state.opt_state, state.params)
        return State(optax.apply_updates(state.params, updates), opt_state, state.step + 1), logged

    return step


def shuffled_batches(
    key: jax.Array, epoch: jax.Array, examples: int, batch_size: int, in_order: bool = False
) -> jax.Array:
    """Returns the rows of each batch of an epoch, `(examples // batch_size, batch_size)`.

    The order is a function of the key and the epoch alone. The last `examples % batch_size` of it are left out: every
    step then has the same shape and weight, and another random few are left out in each epoch. `in_order`
    is the order of the split, the same in every epoch.
    """
    if in_order:
        order = jnp.arange(examples, dtype=jnp.int32)
    else:
        order = jax.random.permutation(jax.random.fold_in(key, epoch), examples)
    steps = examples // batch_size
    return order[: steps * batch_size].reshape(steps, batch_size)
