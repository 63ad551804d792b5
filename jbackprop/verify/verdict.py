"""From distances to a verdict, one row per argument leaf."""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jbackprop.verify.arguments import Call
from jbackprop.verify.distance import relative
from jbackprop.verify.measure import Bounds, Comparison, Gaps, leaf_bounds, leaf_gaps
from jbackprop.verify.report import Row

ACCURACY = 8  # times the rounding error of automatic differentiation still counts as equally accurate
NOT_MEASURED = (None, None, None, None)


def argument_rows(call: Call, comparison: Comparison | None, complaints: Mapping[str, str]) -> tuple[Row, ...]:
    """Returns a row for each array among the arguments.

    `complaints` are findings by argument that need no numbers, such as a wrong dtype; without a `comparison` (the rule
    did not run) they are all there is.
    """
    made = []
    for position, (name, leaf) in enumerate(zip(call.names, call.leaves, strict=True)):
        if position in call.differentiated:
            complaint = complaints.get(name)
            i = call.differentiated.index(position)
            shape, dtype = jnp.shape(call.values[i]), jnp.asarray(call.values[i]).dtype
            if comparison is None:
                verdict = f"wrong: {complaint}" if complaint else "not compared"
                made.append(Row(name, shape, str(dtype), *NOT_MEASURED, verdict, False))
            else:
                made.append(_measured(name, shape, dtype, comparison, i, complaint))
        elif hasattr(leaf, "dtype"):
            made.append(Row(name, jnp.shape(leaf), str(leaf.dtype), *NOT_MEASURED, "not differentiated", True))
    return tuple(made)


def sentence(error: float) -> str:
    """Returns an error as it is read aloud: 2.0, 1.3e-05."""
    return f"{error:.1f}" if 0.05 <= error < 1000 else f"{error:.1e}"


def _measured(
    name: str, shape: tuple[int, ...], dtype: Any, comparison: Comparison, i: int, complaint: str | None
) -> Row:
    found = leaf_gaps(comparison, i, dtype)
    allowed = leaf_bounds(comparison, found, dtype)
    measured64 = comparison.rule64 is not None
    errors = {kind: max(relative(getattr(g, kind), g.scale) for g in found) for kind in Gaps._fields[1:6]}
    faults = [fault for g in found if (fault := _fault(g, allowed, measured64))]
    verdict = "ok" if any(not g.zero for g in found) else "ok: zero within rounding"
    worst = max(faults, default=None, key=lambda fault: (math.isfinite(fault[0]), fault[0]))
    if worst:
        verdict = f"wrong: {worst[1]}"
    if complaint and (worst or not complaint.startswith("None")):  # None is right for a gradient that is zero
        verdict = f"wrong: {complaint}" + (f", {worst[1]}" if worst else "")
    exact = (errors["formula"], errors["rounding"], errors["automatic"]) if measured64 else NOT_MEASURED[1:]
    return Row(name, shape, str(dtype), errors["value"], *exact, verdict, verdict.startswith("ok"))


def _fault(gaps: Gaps, allowed: Bounds, measured64: bool) -> tuple[float, str] | None:
    """Returns an error that rounding does not explain, as a number and in words, or None."""
    slack = max(gaps.noise if gaps.zero else 0.0, allowed.underflow)
    slack64 = gaps.noise64 if gaps.zero else 0.0
    accurate = max(allowed.rounding * gaps.scale, slack)
    if measured64 and gaps.formula > max(allowed.formula * gaps.scale, slack64):
        return _words("formula error", gaps.formula, gaps)
    if measured64 and gaps.exact > max(accurate, ACCURACY * gaps.automatic):
        ours = f"automatic {sentence(relative(gaps.automatic, gaps.scale))}"
        error, words = _words("rounding error", gaps.exact, gaps)
        return error, f"{words}, {ours}"
    if not measured64 and gaps.value > accurate:
        return _words("error", gaps.value, gaps)
    return None


def _words(kind: str, distance: float, gaps: Gaps) -> tuple[float, str]:
    error, where = relative(distance, gaps.scale), f"(cotangent: {gaps.cotangent})"
    if math.isinf(distance):
        return error, f"NaN or infinity in one gradient and not in the other {where}"
    if math.isinf(error):
        return error, f"not zero where the gradient is {where}"
    return error, f"{kind} {sentence(error)} of max|g| {where}"
