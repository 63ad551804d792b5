"""Random arguments for the examples of the registry, drawn by NumPy from the data of a JAX key: nothing is compiled."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.case import Arguments


def normals(*shapes: tuple[int, ...]) -> Callable[..., Arguments]:
    """Returns a sampler of one standard normal array for each shape."""

    def arguments(key, dtype) -> Arguments:
        rng = _generator(key)
        return tuple(jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes)

    return arguments


def with_class_indices(shape: tuple[int, ...]) -> Callable[..., Arguments]:
    """Returns a sampler of normal logits of that shape and class indices."""

    def arguments(key, dtype) -> Arguments:
        rng = _generator(key)
        logits = jnp.asarray(rng.standard_normal(shape), dtype)
        return logits, jnp.asarray(rng.integers(0, shape[-1], shape[:-1]), jnp.int32)

    return arguments


def with_probabilities(shape: tuple[int, ...]) -> Callable[..., Arguments]:
    """Returns a sampler of normal logits of that shape and rows of probabilities."""

    def arguments(key, dtype) -> Arguments:
        rng = _generator(key)
        logits = jnp.asarray(rng.standard_normal(shape), dtype)
        return logits, jnp.asarray(rng.dirichlet(np.ones(shape[-1]), shape[:-1]), dtype)

    return arguments


def distinct(*shape: int) -> Callable[..., Arguments]:
    """Returns a sampler of one array of at most 256 elements, distinct in bfloat16 too: no window has a tie."""
    size = math.prod(shape)
    if size > 256:
        raise ValueError(f"distinct: bfloat16 cannot tell {size} consecutive integers apart, at most 256")

    def arguments(key, dtype) -> Arguments:
        ranks = _generator(key).permutation(size) - size // 2
        return (jnp.asarray(ranks.reshape(shape) / 16, dtype),)

    return arguments


def _generator(key) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
