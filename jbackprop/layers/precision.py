"""Sums of low-precision numbers are carried in float32: the accumulation dtype is part of each rule."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jbackprop.layers.sharding import cotangent_of, explicit_sharding


def accumulation_dtype(dtype):
    """Returns float32 for bfloat16, float16 and float32, and float64 for float64."""
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)


def widen(x: Array) -> Array:
    """Casts to the dtype in which sums and statistics of `x` are computed."""
    return jnp.asarray(x, accumulation_dtype(jnp.result_type(x)))


def nan(dtype) -> np.ndarray:
    """Returns NaN as a NumPy scalar: made by JAX it would set off `jax.debug_nans` on clean data."""
    return np.asarray(np.nan, dtype)


def einsum(subscripts: str, a: Array, b: Array, cotangent_for: Array | None = None) -> Array:
    """`jnp.einsum`, accumulated and returned in float32 at least, or as the cotangent of the array named."""
    dtype = accumulation_dtype(jnp.result_type(a))
    if cotangent_for is None:
        return jnp.einsum(subscripts, a, b, preferred_element_type=dtype)
    sharding = explicit_sharding(cotangent_for)
    return cotangent_of(
        cotangent_for, jnp.einsum(subscripts, a, b, preferred_element_type=dtype, out_sharding=sharding)
    )


def sum_leading(dy: Float[Array, "*n o"], cotangent_for: Array) -> Float[Array, " o"]:
    """Sums over every axis but the last, accumulated in float32 at least, as the cotangent of the array named."""
    axes = tuple(range(dy.ndim - 1))
    return cotangent_of(cotangent_for, jnp.sum(dy, axes, dtype=accumulation_dtype(jnp.result_type(dy))))
