"""Arguments drawn like given ones: the same tree, shapes, dtypes and ranges, other numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.cotangents import SAMPLES


def sampled(tree: Any, seed: int) -> Any:
    """Returns `tree` with every float and integer array drawn anew, inside the range of the given one.

    What is positive stays positive, what lies in [0, 1] stays there, and rows that add up to one still do; integers are
    drawn between the smallest and the largest. Keys, booleans and everything that is no array are passed on.
    """
    rng = np.random.default_rng([seed, SAMPLES])
    return jax.tree.map(lambda leaf: _leaf(rng, leaf) if _is_array(leaf) else leaf, tree)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic) and jnp.issubdtype(leaf.dtype, jnp.number)


def _leaf(rng: np.random.Generator, leaf: Any) -> Any:
    x = np.asarray(leaf)
    if x.size == 0:
        return leaf
    if jnp.issubdtype(x.dtype, jnp.integer):
        return jnp.asarray(rng.integers(int(x.min()), int(x.max()), x.shape, endpoint=True).astype(x.dtype))
    return jnp.asarray(_floats(rng, x).astype(x.dtype))


def _floats(rng: np.random.Generator, given: np.ndarray) -> np.ndarray:
    if np.iscomplexobj(given):
        return rng.standard_normal(given.shape) + 1j * rng.standard_normal(given.shape)
    x = given.astype(np.float64)
    finite = x[np.isfinite(x)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (-1.0, 1.0)
    if x.ndim and x.shape[-1] > 1 and low >= 0 and np.allclose(x.sum(-1), 1, atol=1e-2):
        return rng.dirichlet(np.ones(x.shape[-1]), x.shape[:-1])
    if low >= 0 and high <= 1 and low < high:
        return rng.uniform(low, high, x.shape)
    scale = max(abs(low), abs(high)) or 1.0
    if low > 0:
        return scale * rng.uniform(0.25, 1.0, x.shape)
    if high < 0:
        return -scale * rng.uniform(0.25, 1.0, x.shape)
    return scale / 2 * rng.standard_normal(x.shape)
