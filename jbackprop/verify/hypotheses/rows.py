"""Rows of the cotangent that are left out, counted twice or weighted: what a sum over a batch does with its parts."""

from collections.abc import Iterator

import numpy as np

from jbackprop.verify.hypotheses.leaf import Finding, Leaf, explains, pull, pulled
from jbackprop.verify.hypotheses.words import listed, long_axes, number, output_name

MOST_ROWS = 64
MOST_NUMBERS = 4_000_000  # in the table of contributions
ROUND = 1e-6


def rows_left_out(leaf: Leaf) -> Iterator[Finding]:
    """Only the first or the last row of the cotangent is used, or a ragged end is not."""
    if len(leaf.setting.outputs) != 1:
        return
    (y,) = leaf.setting.outputs
    for axis in long_axes(y.shape):
        for words, kind, kept in _masks(y.shape[axis], axis):
            if explains(leaf, pulled(leaf, lambda d_out, axis=axis, kept=kept: _weighted(d_out, axis, kept))):
                yield Finding(kind, words)


def _masks(n: int, axis: int) -> Iterator[tuple[str, str, np.ndarray]]:
    rows = np.arange(n)
    yield f"only the first row of the cotangent (axis {axis}) is summed", "missing sum", rows == 0
    yield f"only the last row of the cotangent (axis {axis}) is summed", "missing sum", rows == n - 1
    if n > 2:
        yield f"the first row of the cotangent (axis {axis}) is left out", "part", rows > 0
    size = 1
    seen = {0}
    while size < n:
        rest = n % size if n % size else (1 if size == 1 else 0)
        if rest not in seen:
            seen.add(rest)
            last = "the last row" if rest == 1 else f"the last {rest} rows"
            yield f"{last} of the cotangent (axis {axis}) left out of the sum", "part", rows < n - rest
        size *= 2


def row_weights(leaf: Leaf) -> Iterator[Finding]:
    """The rule is a sum over the rows of the cotangent with weights that are not all 1."""
    for k, y in enumerate(leaf.setting.outputs):
        for axis in long_axes(y.shape):
            n = y.shape[axis]
            if n > MOST_ROWS or n * leaf.input.size > MOST_NUMBERS or leaf.input.size == 0:
                continue
            weights = _weights(leaf, k, axis)
            if weights is not None and _verified(leaf, k, axis, weights):
                words = _words(weights, f"the cotangent (axis {axis} of {output_name(leaf, k)})")
                kept = np.abs(weights) > ROUND
                kind = "missing sum" if kept.sum() == 1 else "part" if _few_values(weights) else "factor"
                yield Finding(kind, words)


def _weights(leaf: Leaf, k: int, axis: int) -> np.ndarray | None:
    """The weights that explain the random cotangents, where those determine them."""
    left, wanted = [], []
    for name in list(leaf.manual)[:2]:
        table = []
        for row in range(leaf.setting.outputs[k].shape[axis]):
            d_outs = [np.zeros_like(d_out) for d_out in leaf.setting.cotangents[name]]
            mask = np.arange(leaf.setting.outputs[k].shape[axis]) == row
            d_outs[k] = _weighted(leaf.setting.cotangents[name][k], axis, mask)
            found = pull(leaf, None, d_outs)
            if found is None:
                return None
            table.append(found.reshape(-1))
        left.append(np.stack(table, axis=1))
        wanted.append((leaf.manual[name] - leaf.oracle[name]).reshape(-1) + left[-1].sum(axis=1))
    matrix, target = np.concatenate(left), np.concatenate(wanted)
    if np.iscomplexobj(matrix) or matrix.shape[0] < 2 * matrix.shape[1]:
        return None
    weights, _, rank, _ = np.linalg.lstsq(matrix, target, rcond=1e-10)
    exact = np.abs(matrix @ weights - target).max() <= 4 * max(leaf.allowed[name] for name in leaf.manual)
    return weights if rank == matrix.shape[1] and exact and np.ptp(weights) > ROUND else None


def _verified(leaf: Leaf, k: int, axis: int, weights: np.ndarray) -> bool:
    def candidate(name: str) -> np.ndarray | None:
        d_outs = list(leaf.setting.cotangents[name])
        d_outs[k] = _weighted(d_outs[k], axis, weights)
        return pull(leaf, None, d_outs)

    rounded = np.round(weights)
    if np.abs(weights - rounded).max() <= ROUND:
        weights = rounded
    return explains(leaf, candidate)


def _words(weights: np.ndarray, what: str) -> str:
    kept, dropped = np.flatnonzero(np.abs(weights) > ROUND), np.flatnonzero(np.abs(weights) <= ROUND)
    if len(kept) == 1:
        return f"only row {kept[0]} of {what} is summed"
    if len(dropped) and np.abs(weights[kept] - 1).max() <= ROUND:
        return f"row{'s' * (len(dropped) > 1)} {_indices(dropped)} of {what} left out of the sum"
    odd = np.flatnonzero(np.abs(weights - 1) > ROUND)
    if len(odd) <= len(weights) / 2 and np.ptp(weights[odd]) <= ROUND:
        return f"row{'s' * (len(odd) > 1)} {_indices(odd)} of {what} counted {number(float(weights[odd[0]]))} times"
    shown = ", ".join(number(float(w)) for w in weights[:4])
    return f"a factor for each row of {what} is wrong: they are {shown}{', ...' if len(weights) > 4 else ''} too large"


def _few_values(weights: np.ndarray) -> bool:
    odd = weights[np.abs(weights - 1) > ROUND]
    return len(odd) <= len(weights) / 2 or bool(np.abs(odd).max() <= ROUND)


def _indices(rows: np.ndarray) -> str:
    if len(rows) > 2 and bool((np.diff(rows) == 1).all()):
        return f"{rows[0]} to {rows[-1]}"
    return listed([str(row) for row in rows[:6]] + (["more"] if len(rows) > 6 else []))


def _weighted(d_out: np.ndarray, axis: int, weights: np.ndarray) -> np.ndarray:
    shape = [1] * d_out.ndim
    shape[axis] = len(weights)
    return d_out * weights.reshape(shape)
