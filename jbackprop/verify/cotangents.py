"""The cotangents a rule is tried with: random ones, and those that a wrong rule likes least."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Cotangents = tuple[np.ndarray, ...]


def cotangents(outputs: Sequence[jax.ShapeDtypeStruct], seed: int) -> dict[str, Cotangents]:
    """Returns named cotangents for `outputs`, each one array per output in the output's own shape and dtype.

    Ones hide a wrong reduction and random ones an overflow, so there are several: random, ones, a single one, a single
    row, huge, tiny, zeros. Scaling by a power of two changes no digit, so huge and tiny show a rule that is not linear.
    """
    rng = np.random.default_rng(seed)
    random = [_each(outputs, lambda out: _normal(rng, out)) for _ in range(4)]
    named = {
        "random": random[0],
        "another random": random[1],
        "ones": _each(outputs, lambda out: np.ones(out.shape, out.dtype)),
        "zeros": _each(outputs, lambda out: np.zeros(out.shape, out.dtype)),
        "huge": _each(outputs, lambda out, ct: ct * _power(out.dtype, 1), random[2]),
        "tiny": _each(outputs, lambda out, ct: ct * _power(out.dtype, -1), random[3]),
    }
    if any(np.prod(out.shape) > 1 for out in outputs):
        named["a single one"] = _each(outputs, lambda out: _only(np.ones(out.shape, out.dtype), rng, rows=False))
        named["one row"] = _each(outputs, lambda out, ct: _only(ct, rng, rows=True), random[0])
    return named


def _each(outputs: Sequence[jax.ShapeDtypeStruct], make: Any, *of: Cotangents) -> Cotangents:
    return tuple(np.asarray(make(out, *others)) for out, *others in zip(outputs, *of, strict=True))


def _normal(rng: np.random.Generator, out: jax.ShapeDtypeStruct) -> np.ndarray:
    values = rng.standard_normal(out.shape)
    if jnp.issubdtype(out.dtype, jnp.complexfloating):
        values = values + 1j * rng.standard_normal(out.shape)
    return np.asarray(values).astype(out.dtype)


def _power(dtype: Any, sign: int) -> np.ndarray:
    """A power of two that leaves room for sums over a batch: float16 ends at 65504."""
    return np.asarray(2.0 ** (sign * (3 if jnp.finfo(dtype).maxexp < 20 else 40))).astype(dtype)


def _only(values: np.ndarray, rng: np.random.Generator, rows: bool) -> np.ndarray:
    """Returns `values` with everything but one element, or one row of the first axis, set to zero."""
    kept = np.zeros_like(values)
    if values.size:
        index = tuple(int(rng.integers(n)) for n in values.shape)
        index = index[:1] if rows else index
        kept[index] = values[index]
    return kept
