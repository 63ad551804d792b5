"""On which side of zero each element lies, in one byte: all that a piecewise linear activation has to remember.

A boolean would take the same byte and forget two things: that an element was exactly 0, where the derivative is a
convention, and that it was NaN, which must not turn into a finite gradient.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from jbackprop.layers.precision import nan

NEGATIVE, ZERO, POSITIVE, NOT_A_NUMBER = -1, 0, 1, 2


def side_of_zero(z: Float[Array, "*n"]) -> Int8[Array, "*n"]:
    """Returns -1, 0 or 1 as the sign of `z`, and 2 for NaN."""
    not_above = jnp.where(z < 0, jnp.int8(NEGATIVE), jnp.int8(ZERO))
    return jnp.where(z <= 0, not_above, jnp.where(jnp.isnan(z), jnp.int8(NOT_A_NUMBER), jnp.int8(POSITIVE)))


def route(
    side: Int8[Array, "*n"], da: Float[Array, "*n"], below: Float[Array, "*n"], at_zero: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Returns `da` where z > 0, `below` where z < 0, `at_zero` where z = 0, and NaN where z was NaN."""
    not_above = jnp.where(side == ZERO, at_zero, below)
    return jnp.where(side > ZERO, jnp.where(side == NOT_A_NUMBER, nan(da.dtype), da), not_above)
