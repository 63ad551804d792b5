"""Arrays drawn as `argument_specs` describes them."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class SpecError(ValueError):
    """A description that cannot be read. The message shows the place and an example."""


@dataclass(frozen=True)
class Drawn:
    """An array to draw: lies in `low` to `high` (None: no bound), ends excluded where `open_low`, `open_high`."""

    text: str
    dtype: str
    shape: tuple[int, ...]
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    kind: str = ""


@dataclass(frozen=True)
class Key:
    """A key of `jax.random` to draw."""


def draw(described: Any, seed: tuple[int, ...]) -> Any:
    """Returns the described pytree with its arrays drawn; the same `seed` draws the same numbers.

    >>> draw([Drawn("f32[5]", "float32", (5,)), 0.5], (0,))[0].shape
    (5,)
    """
    rng = np.random.default_rng(seed)

    def one(leaf: Any) -> Any:
        if isinstance(leaf, Key):
            return jax.random.key(int(rng.integers(2**31)))
        return jnp.asarray(_array(leaf, rng)) if isinstance(leaf, Drawn) else leaf

    return jax.tree.map(one, described, is_leaf=lambda leaf: isinstance(leaf, Drawn | Key))


def integer_range(drawn: Drawn) -> tuple[int, int]:
    """The lowest whole number and the one past the highest.

    Without bounds 0 and 1, of uint8 0 to 255; below a positive bound from 0 on; else the ten values next to a single
    bound.
    """
    limits = np.iinfo(drawn.dtype)
    width = 10 if drawn.low is not None or drawn.high is not None else 256 if drawn.dtype == "uint8" else 2
    low = None if drawn.low is None else math.ceil(drawn.low) + (drawn.open_low and drawn.low == math.ceil(drawn.low))
    past = None if drawn.high is None else math.floor(drawn.high) + 1
    if past is not None and drawn.open_high and drawn.high == past - 1:
        past -= 1
    if low is None:
        low = 0 if past is None or past > 0 else past - width
    return max(low, int(limits.min)), min(low + width if past is None else past, int(limits.max) + 1)


def _array(drawn: Drawn, rng: np.random.Generator) -> np.ndarray:
    dtype, shape = jnp.dtype(drawn.dtype), drawn.shape
    if drawn.kind:
        made = np.asarray(_of_kind(drawn.kind, shape, rng)).astype(dtype)
        if drawn.kind == "distinct" and np.unique(made.astype(np.float64)).size < made.size:
            raise SpecError(f"{drawn.text!r}: {drawn.dtype} cannot tell {made.size} numbers apart")
        return made
    if drawn.dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape), dtype)
    if drawn.dtype.startswith(("int", "uint")):
        return np.asarray(rng.integers(*integer_range(drawn), size=shape, dtype=np.dtype(drawn.dtype)))
    values = rng.standard_normal(shape)
    if drawn.dtype.startswith("complex"):
        return np.asarray(values + 1j * rng.standard_normal(shape)).astype(dtype)
    return _within_bounds(drawn, np.asarray(_placed(drawn, values, rng)).astype(dtype))


def _placed(drawn: Drawn, values: np.ndarray, rng: np.random.Generator) -> Any:
    """Normal numbers on one side of a bound, uniform ones between two; a twentieth away from where they may not be."""
    low, high = drawn.low, drawn.high
    if low is not None and high is not None:
        return low + (high - low) * rng.uniform(0.01, 0.99, drawn.shape)
    if low is None and high is None:
        return values
    bound, sign = (low, 1) if low is not None else (high, -1)
    assert bound is not None
    return bound + sign * (0.05 + np.abs(values)) * max(abs(bound), 1.0)


def _within_bounds(drawn: Drawn, values: np.ndarray) -> np.ndarray:
    exact = values.astype(np.float64)
    low, high = drawn.low, drawn.high
    fine = low is None or np.all(exact > low if drawn.open_low else exact >= low)
    fine = fine and (high is None or np.all(exact < high if drawn.open_high else exact <= high))
    if not fine:
        raise SpecError(f"{drawn.text!r}: {drawn.dtype} is too coarse, or too small, for these bounds")
    return values


def _of_kind(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    if kind == "prob":
        return rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    if kind == "onehot":
        return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
    if kind == "ties":
        return rng.integers(-2, 3, shape) / 2
    if kind == "distinct":
        size = math.prod(shape)
        return (rng.permutation(size).reshape(shape) - size // 2) / 16
    return np.full(shape, float(kind == "ones"))
