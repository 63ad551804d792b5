"""One comparison of a function with an oracle, with one seed: what runs, what is compared, what is left if it fails."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from jbackprop.verify.arguments import Call, argument_names, function_name, large, take_apart
from jbackprop.verify.clause_names import RUNS, SECOND_ORDER
from jbackprop.verify.clauses import (
    dtype_complaints,
    finite_difference_check,
    numeric_checks,
    structure_checks,
)
from jbackprop.verify.conditioning import excused_by_rounding
from jbackprop.verify.cotangents import Cotangents, as_leaves, standard_cotangents
from jbackprop.verify.explain import explain, raw_of_wrong_shape
from jbackprop.verify.front_end import not_differentiated, primal_of
from jbackprop.verify.kinks import Kinks, explain_by_kinks, no_kinks
from jbackprop.verify.measure import Comparison
from jbackprop.verify.misuse import exchanged_in_words, in_words, static_order_in_words
from jbackprop.verify.pullback import Traced, pullback, split_outputs, trace
from jbackprop.verify.report import Check, Report, Row
from jbackprop.verify.reproduce import call_in_words, environment
from jbackprop.verify.rule import Rule, find_rule
from jbackprop.verify.run import compared
from jbackprop.verify.structure import in_one_line
from jbackprop.verify.vacuous import blind_spots
from jbackprop.verify.verdict import argument_rows, faults, wrong_in_formula

NOISE = "not judged: noise of the first derivative grows in the second"
LARGE_ARRAYS = (
    "note: large arrays: few cotangents, vmap only of batching rules that are not JAX's own, no scan, checkpoint, "
    "second order, differences"
)
STOPS = "not judged: the primal stops a gradient"
Function = Callable[..., Any]


class _Asked(NamedTuple):
    """One question: the call, what is compared with what, and the cotangents."""

    f: Function
    primal: Function
    reference: Function | None
    rule: Rule | None
    call: Call
    named: Mapping[str, Cotangents]
    rtol: float | None
    seed: int
    match: bool  # at a kink the oracle's choice is demanded
    skip: frozenset[str]

    @property
    def oracle(self) -> Function:
        return self.primal if self.reference is None else self.reference


class _Found(NamedTuple):
    """The answer, before it is put into words."""

    rows: tuple[Row, ...]
    checks: tuple[Check, ...]
    comparison: Comparison | None = None  # with which the diagnosis works
    kinks: Kinks | None = None
    raw: Mapping[str, np.ndarray] = {}
    notes: tuple[str, ...] = ()
    vacuous: tuple[str, ...] = ()


def compare_with_one_seed(
    f: Function,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    reference: Function | None,
    rtol: float | None,
    seed: int,
    further: Mapping[str, Any],
    nondiff: Sequence[str],
    kinks: str,
    skip: frozenset[str],
) -> Report:
    """Returns the report on `f(*args, **kwargs)`; `further` are the caller's own cotangents."""
    declared = not_differentiated(f, [*argument_names(f, len(args)), *sorted(kwargs)])
    call = take_apart(f, args, kwargs, (*nondiff, *declared))
    primal, rule = primal_of(f), find_rule(f, args, kwargs)
    named = _named_cotangents(f, primal, primal if reference is None else reference, rule, call, seed, further)
    asked = _Asked(f, primal, reference, rule, call, named, rtol, seed, kinks == "match", skip)
    found = _find(asked)
    return Report(
        function_name(f),
        "its own primal, differentiated by JAX" if reference is None else function_name(reference),
        found.rows,
        found.checks,
        found.notes,
        explain(
            call,
            found.comparison,
            found.rows,
            found.checks,
            found.kinks or no_kinks(call.values),
            found.raw,
            found.notes,
            asked.oracle,
        ),
        found.vacuous,
        call_in_words(f, args, kwargs, _not_defaults(reference, rtol, further, nondiff, kinks, skip) | {"seed": seed}),
        environment(),
    )


def _find(asked: _Asked) -> _Found:
    call, d_out = asked.call, asked.named["random"]
    try:
        traced_oracle = trace(asked.oracle, call, call.values, d_out)
    except Exception as error:
        if asked.reference is None:
            error.add_note(
                "compare_vjp: JAX cannot differentiate the primal itself: declare its gradient by `reference=`"
            )
        raise
    if any(isinstance(constant, Tracer) for constant in traced_oracle.jaxpr.consts):
        raise TypeError(
            f"compare_vjp: {function_name(asked.oracle)} closes over a value that is being traced: call it outside of "
            "jax.jit and other transformations"
        )
    checks, complaints = structure_checks(asked.f, asked.primal, asked.rule, call)
    try:
        traced, again = (trace(asked.f, call, call.values, d_out) for _ in range(2))
        if any(isinstance(constant, Tracer) for constant in traced.jaxpr.consts):  # closed over by a rule inside
            pullback(asked.f, call)(call.values, d_out)  # raises, with the frame that tells its name
    except Exception as error:  # whatever a rule raises is a finding: the oracle took the same call
        if all(check.ok for check in checks):
            words = exchanged_in_words(asked.rule) or in_words(error, asked.rule)
            checks.append(Check(RUNS, False, words))
        return _without_running(asked, traced_oracle, checks, complaints)
    return _by_running(asked, (traced, again), traced_oracle, checks, complaints)


def _without_running(
    asked: _Asked, traced_oracle: Traced, checks: list[Check], complaints: Mapping[str, str]
) -> _Found:
    """What is left to say of a rule that JAX refuses; a cotangent of wrong shape is still held against the oracle."""
    call, oracle = asked.call, asked.oracle
    raw, told = raw_of_wrong_shape(asked.rule, call, asked.named["random"]), None
    if raw:
        told, _ = compared(oracle, oracle, call, [traced_oracle, traced_oracle], asked.named, asked.rtol)
    return _Found(argument_rows(call, None, complaints, {}), tuple(checks), told, raw=raw)


def _by_running(
    asked: _Asked,
    traces: tuple[Traced, Traced],
    traced_oracle: Traced,
    checks: list[Check],
    complaints: dict[str, str],
) -> _Found:
    call, seed = asked.call, asked.seed
    comparison, notes = compared(asked.f, asked.oracle, call, [traces[0], traced_oracle], asked.named, asked.rtol)
    complaints |= dtype_complaints(call, comparison)
    faulty = [i for i in range(len(call.values)) if faults(comparison, i)]
    in_formula = [i for i in faulty if wrong_in_formula(comparison, i)]
    kinks = explain_by_kinks(comparison, in_formula, seed) if in_formula else None
    excused = excused_by_rounding(comparison, faulty, seed) if faulty else {}
    forgiven = {i: excuse.words for i, excuse in excused.items()}
    noisy = bool(excused) and comparison.rule64 is comparison.rule  # no wider dtype tells, least of all of second order
    if noisy:
        comparison = replace(comparison, noise={i: excuse.allowed for i, excuse in excused.items()})
    forgiven |= kinks.forgiven if kinks and not asked.match else {}
    rows = argument_rows(call, comparison, complaints, forgiven)
    agrees = not any(row.verdict.startswith("wrong") for row in rows)
    skip = asked.skip if agrees and not noisy else asked.skip | {"second order"}  # which follows from the first
    checks += numeric_checks(asked.f, asked.primal, asked.reference, call, comparison, traces, asked.rule, skip, seed)
    if noisy and agrees and "second order" not in asked.skip and asked.reference is None and not large(call):
        checks.append(Check(SECOND_ORDER, True, NOISE))
    if "finite differences" not in skip and asked.reference is None:
        check, remark = finite_difference_check(asked.primal, call, comparison, agrees, seed)
        checks += [check] if check else []
        notes += (remark,) if remark else ()
        if remark and agrees:  # a gradient that stops at some place is the derivative of no function
            checks = [Check(c.name, True, STOPS) if c.name == SECOND_ORDER and not c.ok else c for c in checks]
    if (words := static_order_in_words(asked.rule)) and not (agrees and all(check.ok for check in checks)):
        notes += (f"note: {words}",)
    if large(call):
        notes += (LARGE_ARRAYS,)
    return _Found(rows, tuple(checks), comparison, kinks, {}, notes, blind_spots(call, comparison))


def _named_cotangents(
    f: Function,
    primal: Function,
    oracle: Function,
    rule: Rule | None,
    call: Call,
    seed: int,
    further: Mapping[str, Any],
) -> dict[str, Cotangents]:
    """Returns the cotangents for the outputs of the primal, which the oracle must share."""
    try:
        outputs, _ = jax.eval_shape(lambda values: split_outputs(primal, call, values), call.values)
    except Exception as error:
        words = in_words(error, rule)
        if words == in_one_line(error):
            raise
        raise TypeError(f"compare_vjp: {function_name(f)}: {words}") from error
    if not outputs:
        raise ValueError(f"compare_vjp: {function_name(f)} returns no float array, so there is nothing to pull back")
    try:
        found, _ = jax.eval_shape(lambda values: split_outputs(oracle, call, values), call.values)
    except Exception as error:
        error.add_note(f"compare_vjp: the reference is called with the arguments of {function_name(f)}")
        raise
    types = [", ".join(f"{out.dtype}{list(out.shape)}" for out in outs) for outs in (found, outputs)]
    if types[0] != types[1]:
        raise ValueError(f"compare_vjp: the reference returns {types[0]} where {function_name(f)} returns {types[1]}")
    return {
        **standard_cotangents(outputs, seed, large(call)),
        **{name: as_leaves(name, given, outputs) for name, given in further.items()},
    }


def _not_defaults(
    reference: Function | None,
    rtol: float | None,
    cotangents: Mapping[str, Any],
    nondiff: Sequence[str],
    kinks: str,
    skip: frozenset[str],
) -> dict[str, Any]:
    given = {
        "reference": reference,
        "rtol": rtol,
        "cotangents": dict(cotangents),
        "nondiff": tuple(nondiff),
        "kinks": "" if kinks == "subgradient" else kinks,
        "skip": tuple(sorted(skip)),
    }
    return {name: value for name, value in given.items() if value not in (None, {}, (), "")}
