"""`compare_vjp` and `check_vjp`: a function's gradients against those of an oracle, argument by argument."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from jbackprop.verify.arguments import Call, argument_names, function_name, large, take_apart
from jbackprop.verify.clauses import (
    CLAUSES,
    dtype_complaints,
    finite_difference_check,
    numeric_checks,
    structure_checks,
)
from jbackprop.verify.conditioning import explain_by_conditioning
from jbackprop.verify.cotangents import Cotangents, as_leaves, standard_cotangents
from jbackprop.verify.explain import explain, raw_of_wrong_shape
from jbackprop.verify.front_end import as_function, not_differentiated, primal_of
from jbackprop.verify.kinks import Kinks, explain_by_kinks
from jbackprop.verify.measure import Comparison
from jbackprop.verify.misuse import in_words
from jbackprop.verify.pullback import Traced, pullback, split_outputs, trace
from jbackprop.verify.report import Check, Report, Row, VJPError
from jbackprop.verify.reproduce import call_in_words, environment
from jbackprop.verify.rule import Rule, find_rule
from jbackprop.verify.run import compared
from jbackprop.verify.sample import sampled
from jbackprop.verify.structure import first_line
from jbackprop.verify.vacuous import blind_spots
from jbackprop.verify.verdict import argument_rows, faults, wrong_in_formula

Function = Callable[..., Any]


def compare_vjp(
    f: Function | tuple[Function, Function],
    *args: Any,
    reference: Function | None = None,
    kwargs: Mapping[str, Any] | None = None,
    rtol: float | None = None,
    seed: int = 0,
    seeds: int = 1,
    cotangents: Mapping[str, Any] | None = None,
    nondiff: Sequence[str] = (),
    kinks: Literal["subgradient", "match"] = "subgradient",
    skip: Sequence[str] = (),
    sample: bool = False,
) -> Report:
    r"""Compares every element of every cotangent of `f(*args, **kwargs)` with an oracle's, and reports what differs.

    $$\text{error of } dx = \max_{\bar y} \frac{\max |dx_f - dx_\text{oracle}|}{\max |dx_\text{oracle}|}$$

    The oracle is JAX's own derivative of `automatic(f)`, the same code without its rules, or of `reference`, which
    takes the same arguments. Both are run with several cotangents in the caller's dtypes and again in float64.

    `f` is any function: a `custom_vjp`, `custom_jvp` or `custom_gradient`, one that contains such rules, equinox's
    `filter_custom_vjp`, or a pair `(fwd, bwd)`. Float arrays in any pytree are differentiated, everything else is
    passed on. Nothing global is changed, float64 is on only inside. There is nothing to tune; for those who must:

    - `rtol`, a fraction of max|g|, replaces the bounds, which follow from dtype and length of the sums.
    - `seed` chooses the random cotangents, `seeds` how many seeds in turn are tried (until one fails), `cotangents`
      adds some by name, each like the output.
    - `nondiff` names arguments that are not differentiated.
    - `kinks="match"`: at a kink or tie, such as relu at exactly 0, the oracle's choice is demanded; by default any
      subgradient is right there.
    - `skip` names clauses of the contract to leave out: value, linear, zero, pure, jit, vmap, scan, checkpoint, second
      order, symbolic zeros, sharding, finite differences.
    - `sample=True`: the arguments are examples, and others of the same shapes, dtypes and ranges are drawn.

    What these inputs cannot show, such as a missing transpose where a matrix is symmetric, is in `report.vacuous`, and
    what explains a wrong gradient in `report.diagnoses`. A NaN in the data may make the gradient NaN where the oracle's
    is not. Where several devices exist the rule is also run on all of them.

    Raises ValueError where there is nothing to differentiate, the reference returns something else or an option is
    unknown, TypeError for values that are being traced and for what is no function; an error of the primal or of the
    oracle passes through.

    >>> import jax
    >>> @jax.custom_vjp
    ... def scale(x, w):
    ...     return x * w
    >>> scale.defvjp(lambda x, w: (x * w, (x, w)), lambda residuals, dy: (dy * residuals[1], -dy * residuals[0]))
    >>> report = compare_vjp(scale, jax.numpy.arange(3.0), jax.numpy.arange(1.0, 4.0))
    >>> report.ok, report.wrong
    (False, ('w',))
    >>> print(report.diagnoses[0])
    dw: -1 x the right answer: the sign is wrong
    """
    _require_options(seeds, kinks, skip, nondiff)
    function = as_function(f)
    options = dict(kwargs or {})
    report = None
    for one in range(seed, seed + seeds):
        values, named = sampled((args, options), one) if sample else (args, options)
        with np.errstate(all="ignore"):  # infinities are compared, not warned of
            report = _one_seed(
                function, values, named, reference, rtol, one, cotangents or {}, nondiff, kinks, frozenset(skip)
            )
        if not report.ok:
            break
    assert report is not None
    return report


def check_vjp(f: Function | tuple[Function, Function], *args: Any, **options: Any) -> Report:
    """Is `compare_vjp`, with its options, and raises `VJPError` (an AssertionError) with the table of a wrong gradient.

    >>> import jax
    >>> check_vjp(jax.numpy.sin, jax.numpy.arange(3.0)).ok
    True
    """
    report = compare_vjp(f, *args, **options)
    if not report.ok:
        raise VJPError(report)
    return report


def _require_options(seeds: int, kinks: str, skip: Sequence[str], nondiff: Sequence[str]) -> None:
    if seeds < 1:
        raise ValueError(f"compare_vjp: seeds is the number of seeds to try, at least 1, not {seeds}")
    if isinstance(nondiff, str):
        raise ValueError(f"compare_vjp: nondiff is a sequence of names, not {nondiff!r}: write ({nondiff!r},)")
    if kinks not in ("subgradient", "match"):
        raise ValueError(f"compare_vjp: kinks is 'subgradient' or 'match', not {kinks!r}")
    unknown = [clause for clause in skip if clause not in CLAUSES] if not isinstance(skip, str) else [skip]
    if unknown:
        raise ValueError(f"compare_vjp: skip is a sequence of {', '.join(map(repr, CLAUSES))}, not {unknown[0]!r}")


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


class _Found(NamedTuple):
    """The answer, before it is put into words."""

    rows: tuple[Row, ...]
    checks: tuple[Check, ...]
    comparison: Comparison | None = None  # with which the diagnosis works
    kinks: Kinks | None = None
    raw: Mapping[str, np.ndarray] = {}
    notes: tuple[str, ...] = ()
    vacuous: tuple[str, ...] = ()


def _one_seed(
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
    declared = not_differentiated(f, [*argument_names(f, len(args)), *sorted(kwargs)])
    call = take_apart(f, args, kwargs, (*nondiff, *declared))
    primal, rule = primal_of(f), find_rule(f, args, kwargs)
    named = _named_cotangents(f, primal, primal if reference is None else reference, rule, call, seed, further)
    asked = _Asked(f, primal, reference, rule, call, named, rtol, seed, kinks == "match", skip)
    found = _find(asked)
    no_kinks = Kinks(tuple(np.zeros(np.shape(value), bool) for value in call.values), {})
    return Report(
        function_name(f),
        "its own primal, differentiated by JAX" if reference is None else function_name(reference),
        found.rows,
        found.checks,
        found.notes,
        explain(call, found.comparison, found.rows, found.checks, found.kinks or no_kinks, found.raw, found.notes),
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
    checks, complaints = structure_checks(asked.f, asked.primal, asked.rule, call)
    try:
        traced, again = (trace(asked.f, call, call.values, d_out) for _ in range(2))
        if any(isinstance(constant, Tracer) for constant in traced.jaxpr.consts):  # closed over by a rule inside
            pullback(asked.f, call)(call.values, d_out)  # raises, with the frame that tells its name
    except Exception as error:  # whatever a rule raises is a finding: the oracle took the same call
        if all(check.ok for check in checks):
            checks.append(Check("the rule runs", False, in_words(error, asked.rule)))
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
    forgiven = explain_by_conditioning(comparison, faulty, seed) if faulty else {}
    forgiven |= kinks.forgiven if kinks and not asked.match else {}
    rows = argument_rows(call, comparison, complaints, forgiven)
    agrees = not any(row.verdict.startswith("wrong") for row in rows)
    skip = asked.skip if agrees else asked.skip | {"second order"}  # which follows from the first
    checks += numeric_checks(asked.f, asked.primal, asked.reference, call, comparison, traces, asked.rule, skip, seed)
    if "finite differences" not in skip and asked.reference is None:
        check, remark = finite_difference_check(asked.primal, call, comparison, agrees, seed)
        checks += [check] if check else []
        notes += (remark,) if remark else ()
    if large(call):
        notes += ("note: large arrays: few cotangents, one vmap, no scan, checkpoint, second order, differences",)
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
        if words == first_line(error):
            raise
        raise TypeError(f"compare_vjp: {function_name(f)}: {words}") from error
    if not outputs:
        raise ValueError(f"compare_vjp: {function_name(f)} returns no float array, so there is nothing to pull back")
    found, _ = jax.eval_shape(lambda values: split_outputs(oracle, call, values), call.values)
    types = [", ".join(f"{out.dtype}{list(out.shape)}" for out in outs) for outs in (found, outputs)]
    if types[0] != types[1]:
        raise ValueError(f"compare_vjp: the reference returns {types[0]} where {function_name(f)} returns {types[1]}")
    return {
        **standard_cotangents(outputs, seed, large(call)),
        **{name: as_leaves(name, given, outputs) for name, given in further.items()},
    }
