"""Distances between arrays in which NaN equals NaN and an infinity equals itself."""

import math
from typing import Any

import numpy as np

BLOCK = 2**15  # elements, of which differences stay in the cache


def as_double(x: Any) -> np.ndarray:
    """Returns any JAX or NumPy array as a float64 (or complex128) NumPy array, which loses no digit."""
    array = np.asarray(x)
    return array.astype(np.complex128 if np.iscomplexobj(array) else np.float64, copy=False)


def as_numpy(x: Any) -> np.ndarray:
    """Returns any JAX or NumPy array as one of NumPy's own floats: as it is, without a copy, or as a double."""
    array = np.asarray(x)
    return array if array.dtype in (np.float32, np.float64) else as_double(array)


def gaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns |one - other| element by element: 0 where both are NaN or the same infinity, inf where only one is."""
    with np.errstate(all="ignore"):
        apart = np.asarray(np.subtract(one, other))
        apart = np.abs(apart, out=None if np.iscomplexobj(apart) else apart)
        if np.isfinite(np.max(apart, initial=0.0)):
            return apart
        apart = np.abs(as_double(one) - as_double(other))  # which float32 may not hold
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.where(same, 0.0, np.where(np.isfinite(one) & np.isfinite(other), apart, np.inf))


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """Returns max|one - other| block by block, so that no array of differences is made; NaN where it is not finite."""
    ones, others, most = one.reshape(-1), other.reshape(-1), 0.0
    with np.errstate(all="ignore"):
        for start in range(0, one.size, BLOCK):
            apart = np.subtract(ones[start : start + BLOCK], others[start : start + BLOCK])
            furthest = np.max(np.abs(apart)) if np.iscomplexobj(apart) else np.maximum(apart.max(), -apart.min())
            if not np.isfinite(furthest):
                return math.nan
            most = max(most, float(furthest))
    return most


def largest(x: np.ndarray) -> float:
    """Returns max|x| over the finite elements, 0 for an empty array."""
    most = (
        np.max(np.abs(x), initial=0.0) if np.iscomplexobj(x) else max(np.max(x, initial=0.0), -np.min(x, initial=0.0))
    )
    return float(most if np.isfinite(most) else np.max(np.abs(np.where(np.isfinite(x), x, 0)), initial=0.0))


def gap(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the largest of the `gaps`."""
    most = _apart(one, other)
    return most if math.isfinite(most) else float(np.max(gaps(one, other), initial=0.0))


def finite_gap(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the largest of the `gaps` where both are finite."""
    most = _apart(one, other)
    if math.isfinite(most):
        return most
    apart = gaps(one, other)
    return float(np.max(apart, initial=0.0, where=np.isfinite(apart)))


def gap_from(rule: np.ndarray, oracle: np.ndarray, exact: np.ndarray) -> float:
    """Returns the gap between `rule` and `oracle`.

    Where the oracle overflows in the caller's dtype and is finite in float64, the rule may be right where it is not,
    and is held against `exact`.
    """
    most = _apart(rule, oracle)
    if math.isfinite(most):
        return most
    apart = gaps(rule, oracle)
    rescued = ~np.isfinite(oracle) & np.isfinite(exact)
    return float(np.max(np.minimum(apart, np.where(rescued, gaps(rule, exact), np.inf)), initial=0.0))


def gap_to_exact(rule: np.ndarray, oracle: np.ndarray, exact: np.ndarray) -> float:
    """Returns the gap between `rule` and `exact`; an overflow of the caller's dtype that the oracle shares is none."""
    most = _apart(rule, exact)
    if math.isfinite(most):
        return most
    apart = gaps(rule, exact)
    shared = ~np.isfinite(exact) | ~np.isfinite(rule)
    return float(np.max(np.minimum(apart, np.where(shared, gaps(rule, oracle), np.inf)), initial=0.0))


def accept_nan(rule: np.ndarray, oracle: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Returns `rule` with the oracle's elements in the place of its NaN where `allowed`."""
    return np.where(np.isnan(rule) & allowed, oracle, rule) if allowed.any() else rule


def relative(distance: float, scale: float) -> float:
    """Returns `distance / scale`, with 0 / 0 = 0."""
    return 0.0 if distance == 0 else distance / scale if scale > 0 else float("inf")
