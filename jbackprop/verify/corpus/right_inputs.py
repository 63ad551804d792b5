"""Inputs for the right rules."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jbackprop.verify.corpus.case import Probe, RightRule

Inputs = Callable[[np.random.Generator, DTypeLike], tuple[Any, ...]]


def normal(
    rng: np.random.Generator, dtype: DTypeLike, *shape: int, scale: float | int = 1.0, shift: float | int = 0.0
) -> jax.Array:
    """Normal numbers of this standard deviation and mean."""
    return jnp.asarray(shift + scale * rng.standard_normal(shape), dtype)


def uniform(rng: np.random.Generator, dtype: DTypeLike, low: float | int, high: float | int, *shape: int) -> jax.Array:
    """Numbers evenly spread over [low, high)."""
    return jnp.asarray(rng.uniform(low, high, shape), dtype)


def grid(rng: np.random.Generator, dtype: DTypeLike, step: float | int, steps: int, *shape: int) -> jax.Array:
    """Multiples of `step` from `-steps * step` to `steps * step`: exact kinks and many ties."""
    return jnp.asarray(step * rng.integers(-steps, steps + 1, shape), dtype)


def labels(rng: np.random.Generator, classes: int, *shape: int) -> jax.Array:
    """Integers in [0, classes)."""
    return jnp.asarray(rng.integers(0, classes, shape), jnp.int32)


def normals(*shapes: tuple[int, ...]) -> Inputs:
    """Makes an array of normal numbers of each shape."""
    return lambda rng, dtype: tuple(normal(rng, dtype, *shape) for shape in shapes)


def row(
    name: str,
    temptation: str,
    function: Callable[..., Any],
    inputs: Inputs,
    dtypes: tuple[str, ...] = ("float32", "float64", "bfloat16"),
    **options: Any,
) -> RightRule:
    """A row whose arguments `inputs` makes, without keywords."""
    return RightRule(name, temptation, lambda rng, dtype: Probe(function, inputs(rng, dtype)), dtypes, options)
