"""How far the right gradient moves when the arguments move by one rounding: nobody can be more accurate than that."""

from collections.abc import Sequence

import numpy as np

from jbackprop.verify.bounds import epsilon
from jbackprop.verify.cotangents import CONDITIONING
from jbackprop.verify.distance import as_double, gap, largest, relative
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import Comparison
from jbackprop.verify.verdict import faults

DRAWS = 3
MORE, MOST, NOISE = 8, 1e-2, 1e-6
SOME = 4  # roundings of the arguments that a computation may add on its way
NOISY = 16  # times what a few draws show of noise, which may be larger at another place or cotangent


def moved_by_rounding(comparison: Comparison, faulty: Sequence[int], seed: int) -> dict[int, float]:
    """Returns which of the `faulty` leaves are off by no more than rounding of the arguments explains, and that much.

    Asked of rounding errors, and of all errors where the caller's dtype is float64 and no wider one tells them apart.
    """
    alone = comparison.rule64 is comparison.rule
    asked = [i for i in faulty if alone or all(w.startswith("rounding error") for _, w, _ in faults(comparison, i))]
    if not asked or any(np.iscomplexobj(x) for x in comparison.inputs) or comparison.run64 is None:
        return {}
    moved, further = (_moved_by(roundings, comparison, seed) for roundings in (1, MORE))
    excused = {}
    for i in asked:
        error = max(error for error, _, _ in faults(comparison, i))
        # At a tie the gradient jumps, however far the arguments move: that is no conditioning. The rounding inside a
        # float64 run is as large at any distance too, and far smaller than a jump.
        if alone and moved[i] < NOISE:
            ok = error <= NOISY * moved[i]
        else:
            ok = moved[i] < MOST and further[i] > MORE / 3 * moved[i] and error <= SOME * moved[i]
        if ok:
            excused[i] = moved[i]
    return excused


def _moved_by(roundings: int, comparison: Comparison, seed: int) -> list[float]:
    rng = np.random.default_rng([seed, CONDITIONING])
    assert comparison.oracle64 is not None
    assert comparison.run64 is not None
    here = comparison.oracle64.pulled["random"]
    values = [as_double(x) for x in to_float64(comparison.inputs)]
    steps = [roundings * epsilon(leaf.dtype) / 2 for leaf in comparison.leaves]
    d_out = [np.asarray(ct).astype(y.dtype) for ct, y in zip(comparison.cotangents["random"], here.values, strict=True)]
    most = [0.0] * len(values)
    for _ in range(DRAWS):
        there = [x * (1 + step * rng.choice([-1.0, 1.0], x.shape)) for x, step in zip(values, steps, strict=True)]
        with float64_scope():
            pulled = comparison.run64(there, d_out)[1]
        for i, (one, other) in enumerate(zip(pulled.cotangents, here.cotangents, strict=True)):
            right = as_double(other)
            most[i] = max(most[i], relative(gap(as_double(one), right), largest(right)))
    return most
