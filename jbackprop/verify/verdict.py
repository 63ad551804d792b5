"""From distances to a verdict, one row per argument leaf."""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jbackprop.verify.arguments import Call
from jbackprop.verify.distance import as_double, relative
from jbackprop.verify.measure import ACCURACY, Comparison, Gaps, Leaf
from jbackprop.verify.report import Evidence, Row

NOT_MEASURED = (None, None, None, None)


def argument_rows(
    call: Call, comparison: Comparison | None, complaints: Mapping[str, str], forgiven: Mapping[int, str]
) -> tuple[Row, ...]:
    """Returns a row for each array among the arguments.

    `complaints` are findings by argument that need no numbers, such as a wrong dtype; `forgiven` tells, by
    differentiated leaf, why a difference is none; without a `comparison` (the rule did not run) complaints are all.
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
                made.append(_measured(name, shape, dtype, comparison, i, complaint, forgiven.get(i)))
        elif hasattr(leaf, "dtype"):
            made.append(Row(name, jnp.shape(leaf), str(leaf.dtype), *NOT_MEASURED, "not differentiated", True))
    return tuple(made)


def spoken(error: float) -> str:
    """Returns an error as it is read aloud: 2.0, 1.3e-05."""
    return f"{error:.1f}" if 0.05 <= error < 1000 else f"{error:.1e}"


def faults(comparison: Comparison, i: int) -> list[tuple[float, str, Gaps]]:
    """Returns what rounding does not explain of leaf `i`: the error, the words and where, for each cotangent."""
    leaf = comparison.leaves[i]
    found = []
    for one in leaf.gaps:
        fault = _fault(one, leaf, comparison.rule64 is not None)
        if fault:
            found.append((*fault, one))
    return found


def wrong_in_formula(comparison: Comparison, i: int) -> bool:
    """Whether leaf `i` is wrong by more than rounding, which a kink may explain."""
    found = [words for _, words, _ in faults(comparison, i)]
    return bool(found) and not any(words.startswith("rounding error") for words in found)


def _measured(
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    comparison: Comparison,
    i: int,
    complaint: str | None,
    forgiven: str | None,
) -> Row:
    found = comparison.leaves[i].gaps
    errors = {kind: max(relative(getattr(g, kind), g.scale) for g in found) for kind in Gaps._fields[1:6]}
    verdict = "ok" if any(not g.zero for g in found) else "ok: zero within rounding"
    found_wrong = [] if forgiven else faults(comparison, i)
    worst = max(found_wrong, default=None, key=_telling)
    if comparison.leaves[i].is_rounding and comparison.rtol is None:
        verdict = "ok: nothing is told from rounding, which is larger than the gradient"
    if forgiven:
        verdict = f"ok: {forgiven}"
    if worst:
        verdict = f"wrong: {worst[1]}"
    if complaint and (worst or not complaint.startswith("None")):  # None is right for a gradient that is zero
        verdict = f"wrong: {complaint}" + (f", {worst[1]}" if worst else "")
    measured64 = comparison.rule64 is not None
    exact = (errors["formula"], errors["rounding"], errors["automatic"]) if measured64 else NOT_MEASURED[1:]
    evidence = _evidence(comparison, i, worst[2] if worst else found[0])
    return Row(name, shape, str(dtype), errors["value"], *exact, verdict, verdict.startswith("ok"), evidence)


def _telling(fault: tuple[float, str, Gaps]) -> tuple[bool, bool, float]:
    """The order of faults: one of a cotangent of ordinary size tells a reader more than one of a huge one."""
    ordinary = fault[2].cotangent in ("random", "another random", "ones", "a single one", "one row")
    return ordinary, math.isfinite(fault[0]), fault[0]


def _evidence(comparison: Comparison, i: int, gaps: Gaps) -> Evidence:
    """The two gradients in float64, or in the caller's dtypes where float64 shows no difference."""
    runs = [
        (distance, rule.pulled[gaps.cotangent], oracle.pulled[gaps.cotangent])
        for distance, rule, oracle in (
            (gaps.formula, comparison.rule64, comparison.oracle64),
            (gaps.value, comparison.rule, comparison.oracle),
        )
        if rule is not None and oracle is not None and gaps.cotangent in oracle.pulled
    ]
    _, rule, oracle = next((run for run in runs if run[0] > 1e-9 * gaps.scale), runs[0])
    return Evidence(gaps.cotangent, as_double(rule.cotangents[i]), as_double(oracle.cotangents[i]))


def _fault(gaps: Gaps, leaf: Leaf, measured64: bool) -> tuple[float, str] | None:
    """Returns an error that rounding does not explain, as a number and in words, or None."""
    allowed, automatic = leaf.bounds, max(gaps.automatic, leaf.autodiff * gaps.scale)
    slack = max(gaps.noise if gaps.zero else 0.0, allowed.underflow)
    accurate = max(allowed.rounding * gaps.scale, slack)
    if measured64 and gaps.formula > max(allowed.formula * gaps.scale, gaps.slack64):
        return _words("formula error", gaps.formula, gaps)
    if measured64 and gaps.exact > max(accurate, ACCURACY * automatic):
        ours = f"automatic {spoken(relative(automatic, gaps.scale))}"
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
    return error, f"{kind} {spoken(error)} of max|g| {where}"
