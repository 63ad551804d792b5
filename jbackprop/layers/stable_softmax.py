r"""What softmax, log-softmax and cross-entropy share: $z - m$ and $s = \sum_k e^{z_k - m}$ with $m = \max_k z_k$.

Infinite logits get the limit where there is one: a single $+\infty$ takes all the probability and a $-\infty$ (a masked
class) none. Two $+\infty$, or nothing but $-\infty$, have no limit: the row is NaN.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype
from jbackprop.layers.precision import nan, widen


class Residuals(NamedTuple):
    """The argument and s, one number for each row, from which p is one exponential away, in float32 at least.

    The maximum is taken again, which XLA spares where both passes are one program. Keeping the output instead would be
    as small, but in bfloat16 it is rounded: the cotangents would be several times less accurate than those of automatic
    differentiation.
    """

    z: Float[Array, "..."]
    s: Float[Array, "..."]

    def exponentials(self, axis: int) -> Float[Array, "..."]:
        """Returns s p, in float32 at least."""
        z = widen(self.z)
        return exp_shifted(z, maximum(z, axis))


def shift(z: Float[Array, "..."], m: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns z - m, and 0 instead of inf - inf."""
    return jnp.where((z == m) & jnp.isposinf(m), jnp.zeros_like(z), z - m)


def exp_shifted(z: Float[Array, "..."], m: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns exp(shift(z, m)) in fewer steps: where z is +inf, m is too (or NaN, which the sum shows)."""
    return jnp.exp(jnp.where(jnp.isposinf(z), jnp.zeros_like(z), z - m))


def maximum(z: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Returns m, with `axis` kept as an axis of length 1."""
    return jax.lax.stop_gradient(jnp.max(z, axis, keepdims=True))  # m cancels, so its derivative is not needed


def maximum_and_sum(z: Float[Array, "..."], axis: int = -1) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Returns m and s, each with `axis` kept as an axis of length 1; s is NaN where the limit does not exist."""
    m = maximum(z, axis)
    s = jnp.sum(exp_shifted(z, m), axis, keepdims=True)
    several_infinities = jnp.isposinf(m) & (s > 1)
    return m, jnp.where(several_infinities, nan(s.dtype), s)


def check_axis(function: str, z: Array, axis: int) -> np.dtype:
    """Returns the dtype of `z`; raises ValueError where there is no such axis, or nothing along it."""
    dtype = shared_float_dtype(function, z=z)
    shape = jnp.shape(z)
    if not isinstance(axis, int | np.integer):
        raise TypeError(f"{function}: axis is {axis!r}: give one integer")
    if not -len(shape) <= axis < len(shape):
        remedy = f"choose one from {-len(shape)} to {len(shape) - 1}" if shape else "give an array with one for classes"
        raise ValueError(f"{function}: z has shape {shape} and no axis {axis}: {remedy}")
    if shape[axis] == 0:
        raise ValueError(f"{function}: z has shape {shape}: there are no classes along axis {axis}: give one at least")
    return dtype
