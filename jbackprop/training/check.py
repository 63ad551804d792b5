"""The chosen gradient beside the automatic one, measured inside the jitted step of a training run."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jbackprop.layers.precision import widen
from jbackprop.training.gradient import LossAndGrads
from jbackprop.verify.bounds import NARROW, coarsest_epsilon, epsilon, longest_sum, rounding_bound

Check = Callable[[jax.Array, Any, jax.Array, jax.Array, Any], Float[Array, " parameters"]]
"""`(step, params, x, labels, grads) -> max|d| / max|g|` of each parameter; `NOT_CHECKED` at the other steps."""
NOT_CHECKED = -1.0  # a disagreement is 0 or more; NaN would set off `jax.debug_nans` on a run without one


class Parameter(NamedTuple):
    """One leaf of the parameters, and the disagreement up to which rounding explains it."""

    path: str
    shape: tuple[int, ...]
    dtype: str
    bound: float


class Checks(NamedTuple):
    """The steps that were checked `(c,)`, counted from 1, and the disagreement of each parameter `(c, parameters)`.

    The disagreement is infinite where either gradient is not finite.
    """

    steps: np.ndarray
    disagreement: np.ndarray


def make_check(automatic: LossAndGrads, every: int) -> Check:
    """Returns the check for one step: steps 1, 1 + every, 1 + 2 every, ... run it, for the others it costs nothing."""

    def check(step: jax.Array, params: Any, x: jax.Array, labels: jax.Array, grads: Any) -> jax.Array:
        def compared(params: Any, x: jax.Array, labels: jax.Array, grads: Any) -> jax.Array:
            return disagreement(grads, automatic(params, x, labels)[1])

        def left_out(params: Any, x: jax.Array, labels: jax.Array, grads: Any) -> jax.Array:
            return jnp.full(len(jax.tree.leaves(params)), NOT_CHECKED, jnp.float32)

        return jax.lax.cond(step % every == 0, compared, left_out, params, x, labels, grads)

    return check


def disagreement(grads: Any, wanted: Any) -> Float[Array, " parameters"]:
    r"""Returns, for each leaf, the largest difference as a fraction of the largest element that is wanted:

    $$\frac{\max |g - g_\text{wanted}|}{\max |g_\text{wanted}|}, \qquad \tfrac00 = 0$$

    and infinity where either is not finite. Float32 at least.

    >>> grads, wanted = {"b": jnp.array([2.0, 4.0]), "w": jnp.ones(2)}, {"b": jnp.array([2.0, 5.0]), "w": jnp.ones(2)}
    >>> disagreement(grads, wanted).tolist()
    [0.20000000298023224, 0.0]
    """
    return jnp.stack(jax.tree.leaves(jax.tree.map(_leaf_disagreement, grads, wanted)))


def _leaf_disagreement(grad: Any, wanted: Any) -> jax.Array:
    found, wanted = widen(grad), widen(wanted)
    gap = jnp.max(jnp.abs(found - wanted), initial=0)
    error = jnp.where(gap == 0, 0, gap / jnp.max(jnp.abs(wanted), initial=0))
    return jnp.where(jnp.isfinite(error), error, jnp.inf).astype(jnp.float32)  # inf/inf is NaN, NaN is no disagreement


def parameters(params: Any, automatic: LossAndGrads, x: Any, labels: Any) -> tuple[Parameter, ...]:
    """Returns the leaves of `params` in the order of `disagreement`, each with its bound.

    The bound is what rounding explains with the longest sum of the automatic gradient, in the leaf's dtype or the
    narrower one that the network is computed in; arrays may be given by their shapes.
    """
    program = jax.make_jaxpr(automatic)(params, x, labels)
    length, inside = longest_sum(program), coarsest_epsilon(program)
    return tuple(
        Parameter(
            jax.tree_util.keystr(path, simple=True, separator="."),
            tuple(leaf.shape),
            str(leaf.dtype),
            rounding_bound(epsilon(leaf.dtype), length)
            if inside <= epsilon(leaf.dtype)
            else rounding_bound(inside, length, own=NARROW),
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    )


def checked_rows(first: int, rows: np.ndarray) -> Checks:
    """Returns the checks among the `rows` `(steps, parameters)` of consecutive steps; the first is step `first`."""
    checked = np.flatnonzero((rows != NOT_CHECKED).all(axis=1))
    return Checks(first + checked, rows[checked])


def joined(parts: Sequence[Checks]) -> Checks:
    """Returns the checks of consecutive epochs, at least one, as one."""
    return Checks(np.concatenate([part.steps for part in parts]), np.concatenate([part.disagreement for part in parts]))
