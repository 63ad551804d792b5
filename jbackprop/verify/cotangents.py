"""The cotangents a rule is tried with: random ones, and those that a wrong rule likes least."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Streams of random numbers apart from each other, and from `default_rng(seed)`, of which callers draw their arguments:
# a direction that is the argument itself would hide what only another one shows.
COTANGENTS, SAMPLES, KINKS, DIFFERENCES, SECOND_ORDER, CONDITIONING = range(101, 107)
Cotangents = tuple[np.ndarray, ...]
OF_RULE_ALONE = frozenset({"zeros", "huge", "tiny"})  # of large arrays: no oracle is needed to see zeros and multiples
PERIOD = 2**17 - 1  # random numbers of an array, of which multiples follow: a prime, so no row begins like another


def standard_cotangents(outputs: Sequence[jax.ShapeDtypeStruct], seed: int, few: bool = False) -> dict[str, Cotangents]:
    """Returns named cotangents for `outputs`, each one array per output in the output's own shape and dtype.

    Ones hide a wrong reduction and random ones an overflow, so there are several: random, ones, a single one, a single
    row, huge, tiny, zeros. Scaling by a power of two changes no digit, so huge and tiny show a rule that is not linear.
    `few` leaves out all but a random one, zeros, huge and tiny: of large arrays time is what counts. There the last two
    are the random one times a power of two, huge with the other sign.
    """
    rng = np.random.default_rng([seed, COTANGENTS])
    random = [_each(outputs, lambda out: _normal(rng, out)) for _ in range(1 if few else 4)]
    zeros = _each(outputs, lambda out: np.zeros(out.shape, out.dtype))
    if few:
        return {
            "random": random[0],
            "zeros": zeros,
            **{
                name: _each(outputs, lambda out, ct, c=c: ct * out.dtype.type(c), random[0])
                for name, c in factors_of_large(outputs).items()
            },
        }
    named = {"random": random[0], "another random": random[1], "zeros": zeros}
    named["huge"] = _each(outputs, lambda out, ct: ct * _power(out.dtype, 1), random[2])
    named["ones"] = _each(outputs, lambda out: np.ones(out.shape, out.dtype))
    named["tiny"] = _each(outputs, lambda out, ct: ct * _power(out.dtype, -1), random[3])
    if any(np.prod(out.shape) > 1 for out in outputs):
        named["a single one"] = _each(outputs, lambda out: _only(np.ones(out.shape, out.dtype), rng, rows=False))
        named["one row"] = _each(outputs, lambda out, ct: _only(ct, rng, rows=True), random[0])
    return named


def factors_of_large(outputs: Sequence[Any]) -> dict[str, float]:
    """Returns how many times the random cotangent those of large arrays are that are multiples of it, by name."""
    power = min(float(np.real(_power(out.dtype, 1))) for out in outputs)
    return {"huge": -power, "tiny": 1 / power}


def as_leaves(name: str, given: Any, outputs: Sequence[jax.ShapeDtypeStruct]) -> Cotangents:
    """Returns a caller's own cotangent as one array per float output; raises ValueError where it is not like these."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(given)]
    leaves = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    found, wanted = [leaf.shape for leaf in leaves], [tuple(out.shape) for out in outputs]
    if found != wanted:
        raise ValueError(f"compare_vjp: the cotangent {name!r} has shapes {found}, the float outputs {wanted}")
    return tuple(leaf.astype(out.dtype) for leaf, out in zip(leaves, outputs, strict=True))


def another(named: Mapping[str, Cotangents]) -> Cotangents:
    """Returns a second random cotangent; of large arrays -2 times the first backwards, also for a single number."""
    if "another random" in named:
        return named["another random"]
    return tuple(np.asarray(np.flip(ct) * ct.dtype.type(-2)) for ct in named["random"])


def _each(outputs: Sequence[jax.ShapeDtypeStruct], make: Any, *of: Cotangents) -> Cotangents:
    return tuple(np.asarray(make(out, *others)) for out, *others in zip(outputs, *of, strict=True))


def _normal(rng: np.random.Generator, out: jax.ShapeDtypeStruct) -> np.ndarray:
    shape = out.shape if math.prod(out.shape) <= PERIOD else PERIOD
    values = rng.standard_normal(shape)
    if jnp.issubdtype(out.dtype, jnp.complexfloating):
        values = values + 1j * rng.standard_normal(shape)
    found = np.resize(np.asarray(values).astype(out.dtype), math.prod(out.shape))
    for repeat, start in enumerate(range(PERIOD, found.size, PERIOD)):  # no two of them alike
        found[start : start + PERIOD] *= out.dtype.type(1 + 0.5 * np.sin(1 + repeat))
    return found.reshape(out.shape)


def _power(dtype: Any, sign: int) -> np.ndarray:
    """A power of two that leaves room for sums over a batch: float16 ends at 65504."""
    return np.asarray(2.0 ** (sign * (3 if jnp.finfo(dtype).maxexp < 20 else 30))).astype(dtype)


def _only(values: np.ndarray, rng: np.random.Generator, rows: bool) -> np.ndarray:
    """Returns `values` with everything but one element, or one row of the first axis, set to zero."""
    kept = np.zeros_like(values)
    if values.size:
        index = tuple(int(rng.integers(n)) for n in values.shape)
        index = index[:1] if rows else index
        kept[index] = values[index]
    return kept
