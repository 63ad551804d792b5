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
    sign = (z > 0).astype(jnp.int8) - (z < 0).astype(jnp.int8)
    return jnp.where(jnp.isnan(z), jnp.int8(NOT_A_NUMBER), sign)


def route(
    side: Int8[Array, "*n"], da: Float[Array, "*n"], below: Float[Array, "*n"], at_zero: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """Returns `da` where z > 0, `below` where z < 0, `at_zero` where z = 0, and NaN where z was NaN."""
    dz = jnp.where(side == POSITIVE, da, below)
    dz = jnp.where(side == ZERO, at_zero, dz)
    return jnp.where(side == NOT_A_NUMBER, nan(da.dtype), dz)
