"""The distances between a rule's cotangent and the oracle's, for one argument, and what rounding explains of them."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jbackprop.verify import bounds
from jbackprop.verify.distance import accept_nan, as_numpy, finite_gap, gap, gap_from, gap_to_exact, largest, relative
from jbackprop.verify.pullback import Evaluation, Pulled, Run
from jbackprop.verify.widen import AsTraced

ACCURACY = 8  # times the rounding error of automatic differentiation still counts as equally accurate
RANDOM = ("random", "another random")
STABLE = 1 / 8  # noise agrees less in two precisions than to this fraction of itself


class Gaps(NamedTuple):
    """Distances for one leaf and one cotangent; `scale` is the max|g| that they are fractions of."""

    cotangent: str
    value: float  # rule against oracle, in the caller's dtype
    formula: float  # rule against oracle, in float64
    exact: float  # rule in the caller's dtype against oracle in float64
    rounding: float  # rule in the caller's dtype against rule in float64
    automatic: float  # oracle in the caller's dtype against oracle in float64
    scale: float
    noise: float  # a gradient of exactly 0 may come out as large as this in the caller's dtype,
    noise64: float  # and as this in float64
    stable: bool  # the oracle's gradient is the same number in both precisions, with every cotangent

    @property
    def zero(self) -> bool:
        """Whether the gradient may be 0: within the noise in float64, and another number in the caller's dtype."""
        return self.scale == 0 or (self.scale <= self.noise64 and not self.stable)

    @property
    def slack64(self) -> float:
        """How far from 0 a gradient that may be 0 comes out in float64: like the oracle's own noise, or some times."""
        return max(self.noise64, ACCURACY * self.scale) if self.zero else 0.0


class Bounds(NamedTuple):
    """The errors that rounding explains for one leaf, as fractions of max|g|, and where its dtype underflows."""

    rounding: float
    formula: float
    repeated: float  # the same computation twice, compiled in two ways, in the narrowest dtype it uses
    underflow: float


class Leaf(NamedTuple):
    """What is measured of one differentiated leaf: its distances, one for each cotangent, and their bounds."""

    dtype: Any
    gaps: tuple[Gaps, ...]
    bounds: Bounds

    @property
    def is_rounding(self) -> bool:
        """Whether rounding explains any error, in float64 too, as where a softmax of huge logits is saturated."""
        return self.bounds.formula > bounds.USELESS

    @property
    def is_noise(self) -> bool:
        """Whether the gradient is nothing but rounding: where it is, or where it may be 0 and does not come out so."""
        return self.is_rounding or (all(one.zero for one in self.gaps) and self.gaps[0].scale > 0)

    @property
    def autodiff(self) -> float:
        """The oracle's error in the caller's dtype, as a fraction of max|g|, for random cotangents: the worst of them.

        Others may cancel or underflow, where it says nothing of the rest.
        """
        random = [one for one in self.gaps if one.cotangent in RANDOM and not one.zero]
        return max((relative(one.automatic, one.scale) for one in random), default=0.0)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Rule and oracle evaluated in the caller's dtypes and in float64 (None where that is not possible).

    `run` and `run64` evaluate both once more, at other leaves and cotangents of the same shapes, rule first; `run_rule`
    and `run_rule64` the rule alone. `traced64` is how other functions are traced for a float64 run.
    """

    rule: Evaluation
    oracle: Evaluation
    rule64: Evaluation | None
    oracle64: Evaluation | None
    run: Run
    run_rule: Callable[[Sequence[Any], Sequence[Any]], Pulled]
    run64: Run | None
    run_rule64: Callable[[Sequence[Any], Sequence[Any]], Pulled] | None
    traced64: AsTraced | None
    cotangents: Mapping[str, tuple[np.ndarray, ...]]
    inputs: tuple[Any, ...]
    rtol: float | None
    noise: Mapping[int, float] = field(default_factory=dict)  # by leaf: what rounding inside is known to do

    @functools.cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """One for each of `inputs`."""
        found = []
        for i, value in enumerate(self.inputs):
            dtype = jnp.asarray(value).dtype
            length, inside = bounds.longest_sum(self.oracle.jaxpr), _epsilon_inside(self, dtype)
            gaps = _leaf_gaps(self, i, dtype, length, max(inside, self.constants))
            explained, noise = _leaf_bounds(self, gaps, dtype, length, inside), self.noise.get(i, 0.0)
            rounding, formula, repeated, underflow = explained
            widened = Bounds(max(rounding, noise), max(formula, noise), max(repeated, noise), underflow)
            found.append(Leaf(dtype, gaps, widened))
        return tuple(found)

    @property
    def constants(self) -> float:
        """The precision of narrow constants in the float64 run, 0 where there are none."""
        return self.traced64.constants if self.traced64 else 0.0


def _epsilon_inside(comparison: Comparison, dtype: Any) -> float:
    """Returns the precision in which the float64 run is carried where rule or oracle name a narrower dtype inside."""
    if comparison.rule64 is None or comparison.oracle64 is None:
        return bounds.epsilon(dtype)
    eps = bounds.coarsest_epsilon(comparison.oracle64.jaxpr)
    if comparison.rule64 is comparison.rule:
        return eps
    # A rule for float32 may name float32 inside; one that was given float64 may not, nor what is coarser.
    return max(eps, bounds.coarsest_epsilon(comparison.rule64.jaxpr, _coarsest(comparison, dtype)))


def _coarsest(comparison: Comparison, dtype: Any) -> float:
    return max(bounds.epsilon(dtype), bounds.coarsest_epsilon(comparison.oracle.jaxpr))


def _leaf_gaps(comparison: Comparison, i: int, dtype: Any, length: int, inside: float) -> tuple[Gaps, ...]:
    """Returns the distances for differentiated leaf `i`, once per cotangent."""
    oracle = _doubles(comparison.oracle, i)
    oracle64 = _doubles(comparison.oracle64, i) or oracle
    allowed = nan_allowed(comparison, i)
    manual, manual64 = _doubles(comparison.rule, i), _doubles(comparison.rule64, i)
    rule = {name: accept_nan(manual[name], g, allowed) for name, g in oracle.items()}
    rule64 = {name: accept_nan(manual64[name], g, allowed) for name, g in oracle64.items()} if manual64 else rule
    sizes = {
        name: max(largest(as_numpy(leaf)) for leaf in d_out)
        for name, d_out in comparison.cotangents.items()
        if name in oracle or name in oracle64
    }
    best = {name: largest({**oracle, **oracle64}[name]) for name in sizes}
    reach = max((best[name] / size for name, size in sizes.items() if size > 0), default=0.0)
    terms = bounds.ROUNDING * (1 + math.sqrt(length))
    natural = terms * _magnitude(comparison.oracle) / max(1.0, largest(as_numpy(comparison.inputs[i])))
    # Where a cotangent cancels (ones into a softmax) max|g| is rounding itself: what counts is how large the gradient
    # gets with other cotangents of this size.
    scales = {name: max(best[name], reach * size) for name, size in sizes.items()}
    in_both = [name for name in sizes if name in oracle and name in oracle64]
    automatic = {name: finite_gap(oracle[name], oracle64[name]) for name in in_both}
    stable = comparison.oracle64 is not None and comparison.oracle64 is not comparison.oracle
    stable = stable and all(automatic[name] <= STABLE * scales[name] for name in in_both)
    return tuple(
        Gaps(
            name,
            gap_from(rule[name], oracle[name], oracle64.get(name, oracle[name])) if name in oracle else 0.0,
            gap(rule64[name], oracle64[name]) if name in oracle64 else 0.0,
            gap_to_exact(rule[name], oracle[name], oracle64[name]) if name in automatic else 0.0,
            finite_gap(rule[name], rule64[name]) if name in automatic else 0.0,
            automatic.get(name, 0.0),
            scales[name],
            natural * size * bounds.epsilon(dtype),
            natural * size * inside,
            stable,
        )
        for name, size in sizes.items()
    )


def _leaf_bounds(comparison: Comparison, found: tuple[Gaps, ...], dtype: Any, length: int, inside: float) -> Bounds:
    """Returns what rounding explains for a leaf of `dtype`, or the caller's `rtol`."""
    underflow = bounds.underflow(dtype)
    if comparison.rtol is not None:
        return Bounds(comparison.rtol, comparison.rtol, comparison.rtol, underflow)
    rounding = bounds.rounding_bound(bounds.epsilon(dtype), length)
    repeated = bounds.rounding_bound(_coarsest(comparison, dtype), length, own=bounds.ROUNDING)
    if comparison.rule64 is None or comparison.oracle64 is None:
        return Bounds(repeated, repeated, repeated, underflow)
    amplification, error = 0.0, 0.0
    if comparison.rule64 is not comparison.rule:
        rounded = [(max(g.rounding, g.automatic), ACCURACY * g.automatic + rounding * g.scale, g) for g in found]
        error = max((relative(min(one, most), g.scale) for one, most, g in rounded if not g.zero), default=0.0)
        amplification = error / bounds.epsilon(dtype)
        error *= min(1.0, inside / bounds.epsilon(dtype))  # what rounding does where float64 is left for no less
    formula = bounds.formula_bound(inside, length, amplification, error, comparison.constants)
    # That a rule is narrow inside excuses its run in float64, not that it is less accurate than autodiff.
    oracle = bounds.coarsest_epsilon(comparison.oracle64.jaxpr)
    shared = bounds.formula_bound(oracle, length, amplification, error, comparison.constants)
    return Bounds(max(rounding, shared), formula, max(repeated, formula), underflow)


def _doubles(evaluation: Evaluation | None, i: int) -> dict[str, np.ndarray]:
    return {name: as_numpy(pulled.cotangents[i]) for name, pulled in evaluation.pulled.items()} if evaluation else {}


def nan_allowed(comparison: Comparison, i: int) -> np.ndarray:
    """Returns where a NaN in the cotangent of leaf `i` is the data's: the leaf or the value has one there.

    A value says where along the leading axes it shares with the leaf, such as the batch; else it holds for all.
    """
    leaf = as_numpy(comparison.inputs[i])
    allowed = np.asarray(np.isnan(leaf))
    for value in map(as_numpy, next(iter(comparison.oracle.pulled.values())).values):
        shared = 0
        while shared < min(leaf.ndim, value.ndim) and leaf.shape[shared] == value.shape[shared]:
            shared += 1
        rows = np.asarray(np.isnan(value).any(axis=tuple(range(shared, value.ndim))))
        allowed = np.asarray(allowed | rows.reshape(rows.shape + (1,) * (leaf.ndim - shared)))
    return allowed


def _magnitude(evaluation: Evaluation) -> float:
    values = next(iter(evaluation.pulled.values())).values
    return max(largest(as_numpy(value)) for value in values)
