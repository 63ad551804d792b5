"""How far the right gradient moves when the arguments move by one rounding: nobody can be more accurate than that."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jbackprop.verify.bounds import epsilon
from jbackprop.verify.cotangents import CONDITIONING
from jbackprop.verify.distance import as_double, gaps, largest
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import Comparison
from jbackprop.verify.verdict import faults, spoken

DRAWS = 3
FURTHER = 8  # roundings
MOST = 1e-2  # of max|g| that a right gradient may move
SOME = 4  # roundings of the arguments that a computation may add on its way
NOISE = 1e-6  # of max|g|, up to which the oracle's own rounding in float64 excuses a rule,
MARGIN = 16  # and how many times what a few draws show of it, which may be more at another place or cotangent
SHARE = 1 / 3  # of the wrong places must be noisy


class Excuse(NamedTuple):
    """Why a leaf is off by no more than rounding explains, and how much of max|g| rounding may do to it."""

    words: str
    allowed: float


def excused_by_rounding(comparison: Comparison, faulty: Sequence[int], seed: int) -> dict[int, Excuse]:
    """Returns which of the `faulty` leaves are off by no more than rounding of the arguments, or inside, explains.

    Asked of rounding errors, and of all errors where the caller's dtype is float64 and no wider one tells them apart.
    """
    alone = comparison.rule64 is comparison.rule
    asked = [i for i in faulty if alone or all(w.startswith("rounding error") for _, w, _ in faults(comparison, i))]
    if not asked or any(np.iscomplexobj(x) for x in comparison.inputs) or comparison.run64 is None:
        return {}
    moved, further = (_moves(roundings, comparison, seed) for roundings in (1, FURTHER))
    excused = {}
    for i in asked:
        error, near, far = max(error for error, _, _ in faults(comparison, i)), largest(moved[i]), largest(further[i])
        # Noise is as large at any distance. At a tie the gradient jumps, however far the arguments move, but not there
        # where a rule is wrong for another reason.
        if alone and near < NOISE and error <= MARGIN * near:
            if _noisy_where_wrong(comparison, i, np.asarray(np.maximum(moved[i], further[i]))):
                words = f"as accurate as autodiff, whose own rounding is {spoken(near)} of max|g| here"
                excused[i] = Excuse(words, MARGIN * near)
        elif near < MOST and far > FURTHER / 3 * near and error <= SOME * near:
            words = f"as accurate as its arguments: one rounding of them changes it by {spoken(near)} of max|g|"
            excused[i] = Excuse(words, SOME * near)
    return excused


def _noisy_where_wrong(comparison: Comparison, i: int, noise: np.ndarray) -> bool:
    """Whether the oracle's noise, place by place, explains a good share of what is wrong in leaf `i`."""
    assert comparison.oracle64 is not None
    assert comparison.rule64 is not None
    explained, bound = [], comparison.leaves[i].bounds.formula
    for _, _, one in faults(comparison, i):
        runs = comparison.rule64, comparison.oracle64
        ours, theirs = (as_double(run.pulled[one.cotangent].cotangents[i]) for run in runs)
        apart = gaps(ours, theirs) / one.scale
        explained.append(MARGIN * noise[apart > bound] >= apart[apart > bound])
    of_wrong = np.concatenate(explained)
    return bool(of_wrong.size and of_wrong.mean() >= SHARE)


def _moves(roundings: int, comparison: Comparison, seed: int) -> list[np.ndarray]:
    """Returns how far the oracle's gradient moves at each place, as fractions of max|g|, the most of some draws."""
    rng = np.random.default_rng([seed, CONDITIONING])
    assert comparison.oracle64 is not None
    assert comparison.run64 is not None
    here = comparison.oracle64.pulled["random"]
    values = [as_double(x) for x in to_float64(comparison.inputs)]
    steps = [roundings * epsilon(leaf.dtype) / 2 for leaf in comparison.leaves]
    d_out = [np.asarray(ct).astype(y.dtype) for ct, y in zip(comparison.cotangents["random"], here.values, strict=True)]
    right = [as_double(one) for one in here.cotangents]
    most = [np.zeros(one.shape) for one in right]
    for _ in range(DRAWS):
        there = [x * (1 + step * rng.choice([-1.0, 1.0], x.shape)) for x, step in zip(values, steps, strict=True)]
        with float64_scope():
            pulled = comparison.run64(there, d_out)[1]
        for i, one in enumerate(pulled.cotangents):
            most[i] = np.asarray(np.maximum(most[i], gaps(as_double(one), right[i])))
    with np.errstate(all="ignore"):
        return [np.asarray(np.nan_to_num(move / largest(one), nan=0.0)) for move, one in zip(most, right, strict=True)]
