"""Inputs that cannot show a mistake: a symmetric kernel hides a missing rotation, a batch of one a missing sum."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jbackprop.verify.arguments import Call
from jbackprop.verify.contract import name_of
from jbackprop.verify.distance import as_numpy
from jbackprop.verify.measure import Comparison


def blind_spots(call: Call, comparison: Comparison) -> tuple[str, ...]:
    """Returns one sentence for each kind of mistake that would go unseen with these arguments."""
    leaves = [(name_of(call, i), as_numpy(x)) for i, x in enumerate(comparison.inputs)]
    found = [text for name, x in leaves for text in _of_one(name, x)]
    found += [
        f"{one} and {other} are the same array: exchanged cotangents would not be seen"
        for i, (one, x) in enumerate(leaves)
        for other, y in leaves[:i]
        if x.size > 1 and _equal(x, y)
    ]
    found += _batch_of_one(leaves, comparison)
    found += [
        f"d{name} is zero here, whatever the cotangent: a rule that gives zero would not be seen"
        for (name, x), leaf in zip(leaves, comparison.leaves, strict=True)
        if x.size and all(gap.zero for gap in leaf.gaps)
    ]
    if comparison.rtol is None:
        found += [
            f"d{name} is smaller than its rounding here, in float64 too: a wrong formula would not be seen"
            for (name, _), leaf in zip(leaves, comparison.leaves, strict=True)
            if leaf.is_rounding
        ]
    return (*found, *_one_label(call))


def _batch_of_one(leaves: Sequence[tuple[str, np.ndarray]], comparison: Comparison) -> list[str]:
    """A leaf whose first axis, of length 1, the output shares, beside another that has no part in that axis."""
    values = next(iter(comparison.oracle.pulled.values())).values
    shared = [name for name, x in leaves if x.ndim > 1 and x.shape[0] == 1]
    if not any(np.ndim(value) > 1 and np.shape(value)[0] == 1 for value in values) or len(shared) in (0, len(leaves)):
        return []
    return [f"{shared[0]} is a batch of one: a missing sum over it would not be seen"]


def _of_one(name: str, x: np.ndarray) -> list[str]:
    if x.size == 0:
        return [f"{name} is empty: nothing is compared"]
    if not np.isfinite(x).all():
        return [f"{name} holds NaN or infinity: what it reaches is compared as NaN alone"]
    if x.size > 1 and np.all(x == x.flat[0]):
        what = "zeros" if x.flat[0] == 0 else "all elements equal"
        return [f"{name} is {what}: a transpose, a flip or a factor {name} in the wrong place would not be seen"]
    return [*_symmetries(name, x), *_repeated(name, x)]


def _symmetries(name: str, x: np.ndarray) -> list[str]:
    found = []
    if x.ndim >= 2:
        spatial = (0, 1) if x.ndim == 4 else (-2, -1)
        if x.shape[-1] == x.shape[-2] and x.shape[-1] > 1 and _equal(x, np.swapaxes(x, -1, -2)):
            found.append(f"{name} equals its transpose: a missing or needless transpose would not be seen")
        flips = [axes for axes in {spatial, (-2, -1)} if max(x.shape[axis] for axis in axes) > 1]
        if any(_equal(x, np.flip(x, axes)) for axes in flips):
            found.append(f"{name} equals itself rotated by 180 degrees: a missing rotation would not be seen")
    return found


def _repeated(name: str, x: np.ndarray) -> list[str]:
    if x.ndim >= 2 and x.shape[0] > 1 and np.all(x == x[:1]):
        return [f"all rows of {name} are equal: rows in the wrong order would not be seen"]
    return []


def _equal(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether all elements are equal: of arrays that differ the first row mostly does."""
    return x.shape == y.shape and np.array_equal(x[:1], y[:1]) and np.array_equal(x, y)


def _one_label(call: Call) -> list[str]:
    labels: Sequence[tuple[str, Any]] = [
        (name, leaf)
        for position, (name, leaf) in enumerate(zip(call.names, call.leaves, strict=True))
        if position not in call.differentiated and hasattr(leaf, "dtype") and np.size(leaf) > 1
    ]
    integers = [(name, np.asarray(leaf)) for name, leaf in labels if jnp.issubdtype(leaf.dtype, jnp.integer)]
    return [
        f"all of {name} are {x.flat[0]}: an index in the wrong place would not be seen"
        for name, x in integers
        if np.all(x == x.flat[0])
    ]
