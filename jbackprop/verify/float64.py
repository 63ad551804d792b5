"""A second run in float64, which tells a wrong formula from rounding."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@contextlib.contextmanager
def float64_scope() -> Iterator[None]:
    """Turns float64 on inside a `with` block, whatever the caller's setting, which is back afterwards.

    Standard promotion holds inside: an array that a function closes over stays float32 and has to meet float64.
    """
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def to_float64(tree: Any) -> Any:
    """Returns `tree` with every float array as a float64 NumPy array (complex: complex128), anything else untouched."""
    return jax.tree.map(_leaf_to_float64, tree)


def _leaf_to_float64(leaf: Any) -> Any:
    if isinstance(leaf, bool | int | float | complex) or not hasattr(leaf, "dtype"):
        return leaf
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    wide = np.complex128 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else np.float64
    return np.asarray(leaf).astype(wide)
