"""Sums of low-precision numbers are carried in float32: the accumulation dtype is part of each rule."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def accumulation_dtype(dtype):
    """Returns float32 for bfloat16, float16 and float32, and float64 for float64."""
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)


def widen(x: Array) -> Array:
    """Casts to the dtype in which sums and statistics of `x` are computed."""
    return jnp.asarray(x, accumulation_dtype(jnp.result_type(x)))


def einsum(subscripts: str, a: Array, b: Array) -> Array:
    """`jnp.einsum`, accumulated and returned in float32 at least: cast it back when nothing is left to add."""
    return jnp.einsum(subscripts, a, b, preferred_element_type=accumulation_dtype(a.dtype))


def sum_leading(dy: Float[Array, "*n o"]) -> Float[Array, " o"]:
    """Sums over every axis but the last, accumulated and returned in float32 at least."""
    axes = tuple(range(dy.ndim - 1))
    return jnp.sum(dy, axes, dtype=accumulation_dtype(dy.dtype))
