"""Whether rounding explains the difference between two cotangents of a model, judged as `compare_vjp` judges."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jbackprop.verify import bounds
from jbackprop.verify.distance import accept_nan, as_double, finite_gap, gap, gap_from, gap_to_exact, largest, relative
from jbackprop.verify.measure import ACCURACY, STABLE
from jbackprop.verify.verdict import spoken

SAME = 1e-3  # of max|g|: a cotangent this near to a multiple of the right one is called that multiple


class Pair(NamedTuple):
    """The same array by hand and automatically, in the caller's dtype and in float64 (None: not possible)."""

    manual: Any
    automatic: Any
    manual64: Any | None
    automatic64: Any | None


class Arithmetic(NamedTuple):
    """What the bounds of one computation follow from."""

    length: int  # of its longest sum
    eps: float  # of the narrowest float in the oracle, in the caller's dtypes
    eps64: float  # and in the run in float64
    manual64: float  # of the narrowest float in the manual computation, in the run in float64
    noise: float  # units of eps that a gradient of exactly 0 may come out as
    nan: bool  # its value is NaN, so that its gradient may be


class Judgement(NamedTuple):
    """Errors as fractions of max|g|, and the verdict."""

    error: float
    formula: float | None
    wrong: str  # nothing where rounding explains the errors

    @property
    def ok(self) -> bool:
        return not self.wrong


def arithmetic(
    jaxprs: Sequence[Any], jaxprs64: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], size: float
) -> Arithmetic:
    """Reads the bounds from the jaxprs of the derivative; the oracle's, which comes first, gives the length of sums."""
    values = [as_double(x) for x in outputs]
    magnitude = max(map(largest, values), default=0.0) / max(1.0, *(largest(as_double(x)) for x in inputs))
    return Arithmetic(
        bounds.longest_sum(jaxprs[0]),
        bounds.coarsest_epsilon(jaxprs[0]),
        *(
            (bounds.coarsest_epsilon(jaxprs64[0]), max(map(bounds.coarsest_epsilon, jaxprs64)))
            if jaxprs64
            else (0.0, 0.0)
        ),
        bounds.ROUNDING * magnitude * size,
        any(bool(np.isnan(x).any()) for x in values),
    )


def judge(pair: Pair, dtype: Any, computed: Arithmetic) -> Judgement:
    """Returns the errors of a pair, and in words what rounding does not explain."""
    allowed = np.asarray(computed.nan)
    automatic = as_double(pair.automatic)
    manual = accept_nan(as_double(pair.manual), automatic, allowed)
    eps, floor = bounds.epsilon(dtype), bounds.underflow(dtype)
    if pair.manual64 is None or pair.automatic64 is None:
        scale = largest(automatic)
        error = gap(manual, automatic)
        bound = bounds.rounding_bound(max(eps, computed.eps), computed.length, own=bounds.ROUNDING)
        right = error <= max(bound * scale, floor, computed.noise * eps)
        return Judgement(relative(error, scale), None, "" if right else _words("error", error, scale))
    automatic64 = as_double(pair.automatic64)
    manual64 = accept_nan(as_double(pair.manual64), automatic64, allowed)
    scale = largest(automatic64)
    ours, error = finite_gap(automatic, automatic64), gap_from(manual, automatic, automatic64)
    formula, exact = gap(manual64, automatic64), gap_to_exact(manual, automatic, automatic64)
    zero = scale == 0 or (scale <= computed.noise * computed.eps64 and ours > STABLE * scale)
    rounding = max(ours, finite_gap(manual, manual64))
    amplification = 0.0 if zero else relative(rounding, scale) / eps
    # A rule for float32 may name float32 inside; one that was given float64 may not, nor what is coarser.
    manual_eps64 = max(computed.eps64, min(computed.manual64, max(eps, computed.eps)))
    allowed64 = bounds.formula_bound(manual_eps64, computed.length, amplification)
    shared = bounds.formula_bound(computed.eps64, computed.length, amplification)
    allowed32 = max(bounds.rounding_bound(eps, computed.length), shared)
    errors = relative(error, scale), relative(formula, scale)
    if formula > max(allowed64 * scale, computed.noise * computed.eps64 if zero else 0.0):
        return Judgement(*errors, _words("formula error", formula, scale))
    if exact > max(allowed32 * scale, floor, computed.noise * eps if zero else 0.0, ACCURACY * ours):
        automatic_error = f", automatic {spoken(relative(ours, scale))}"
        return Judgement(*errors, _words("rounding error", exact, scale) + automatic_error)
    return Judgement(*errors, "")


def multiple(pair: Pair) -> str:
    """Returns `-1 x the right answer` where the manual cotangent is a multiple of the automatic one, else nothing."""
    manual = as_double(pair.manual if pair.manual64 is None else pair.manual64)
    right = as_double(pair.automatic if pair.automatic64 is None else pair.automatic64)
    if not manual.size or not np.isfinite(manual).all() or not np.isfinite(right).all() or not right.any():
        return ""
    if not manual.any():
        return "zero"
    factor = np.vdot(right, manual) / np.vdot(right, right)
    if np.iscomplexobj(factor) or gap(manual, factor * right) > SAME * largest(right) or abs(factor - 1) < SAME:
        return ""
    return f"{float(factor):.4g} x the right answer"


def _words(kind: str, distance: float, scale: float) -> str:
    if np.isinf(distance):
        return "NaN or infinity in one cotangent and not in the other"
    error = relative(distance, scale)
    return "not zero where the right answer is" if np.isinf(error) else f"{kind} {spoken(error)} of max|g|"
