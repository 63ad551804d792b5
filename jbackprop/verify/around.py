"""Rule and oracle around the given point, in float64: what kinks are told by."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jbackprop.verify.bounds import coarsest_epsilon
from jbackprop.verify.distance import as_double
from jbackprop.verify.float64 import to_float64
from jbackprop.verify.measure import Comparison
from jbackprop.verify.pullback import Pulled
from jbackprop.verify.run import run_at

STEP, WIDE_STEP = 1e-6, 1e-3  # of max|x|; the wide one where autodiff cancels, such as sin(x)/x around 0

Arrays = list[np.ndarray]


class Around(NamedTuple):
    """Rule and oracle as functions of the leaves alone, at a fixed cotangent, and how far one steps.

    Leaves `left_out` take part in no tie: the rule is wrong there next to the point too, so no kink explains it.
    """

    comparison: Comparison
    d_out: Sequence[np.ndarray]
    leaves: Arrays
    steps: list[float]
    left_out: frozenset[int] = frozenset()

    def at(self, moves: Arrays) -> tuple[Arrays, Arrays]:
        """Returns the cotangents of rule and oracle at the leaves moved by so many steps."""
        rule, oracle = self._pulled(moves)
        return self.without(map(as_double, rule.cotangents)), self.without(map(as_double, oracle.cotangents))

    def without(self, gradients: Iterable[np.ndarray]) -> Arrays:
        """Returns the gradients with zeros for the leaves left out."""
        return [np.zeros_like(g) if i in self.left_out else g for i, g in enumerate(gradients)]

    def height(self, moves: Arrays) -> float:
        """Returns the oracle's value there, weighted by the cotangent: what the cotangents are the gradient of."""
        values = map(as_double, self._pulled(moves)[1].values)
        return float(sum(np.sum(y * as_double(ct)) for y, ct in zip(values, self.d_out, strict=True)))

    def _pulled(self, moves: Arrays) -> list[Pulled]:
        moved = [x + step * move for x, step, move in zip(self.leaves, self.steps, moves, strict=True)]
        return run_at(self.comparison, moved, self.d_out)


def surroundings(comparison: Comparison) -> tuple[Around, Arrays, Arrays]:
    """Returns the surroundings of the given point, and both cotangents at the point itself.

    The cotangent is positive everywhere, so that a maximum stays convex and bounds of subgradients are attained.
    """
    run64, oracle = comparison.run64, comparison.oracle64 or comparison.oracle
    leaves = [as_double(x) for x in (to_float64(comparison.inputs))]
    named = comparison.cotangents["random"]
    values = next(iter(oracle.pulled.values())).values
    d_out = [(np.abs(ct.astype(np.float64)) + 0.1).astype(out.dtype) for ct, out in zip(named, values, strict=True)]
    eps = max(coarsest_epsilon(oracle.jaxpr), 1e-16 if run64 else max(float(np.finfo(np.float32).eps), 1e-16))
    narrow = max(STEP, 1e4 * eps)
    for step in (narrow, max(narrow, WIDE_STEP)):
        steps = [step * (float(np.max(np.abs(x[np.isfinite(x)]), initial=0.0)) or 1.0) for x in leaves]
        around = Around(comparison, d_out, leaves, steps)
        rule, oracle_there = around.at([np.zeros(x.shape) for x in leaves])
        if all(np.isfinite(x).all() for x in oracle_there):
            break
    return around, rule, oracle_there


def both_ends(around: Around, moves: Arrays) -> list[Arrays]:
    return [around.at(move)[1] for move in (moves, [np.asarray(-x) for x in moves])]


def differences(around: Around, moves: Arrays) -> np.ndarray:
    """Returns by how much the value changes along `moves`, and against them."""
    above, here, below = (around.height([np.asarray(sign * move) for move in moves]) for sign in (1, 0, -1))
    return np.array([above - here, here - below])
