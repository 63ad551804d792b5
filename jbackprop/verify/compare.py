"""`compare_vjp` and `check_vjp`: a function's gradients against those of an oracle, argument by argument."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jbackprop.verify import contract
from jbackprop.verify.arguments import Call, function_name, take_apart
from jbackprop.verify.automatic import automatic
from jbackprop.verify.cotangents import Cotangents, cotangents
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import Comparison
from jbackprop.verify.pullback import Evaluation, evaluate, split_outputs, trace
from jbackprop.verify.report import Check, Report, VJPError
from jbackprop.verify.rule import find_rule
from jbackprop.verify.structure import bwd_check, first_line, fwd_check
from jbackprop.verify.verdict import argument_rows

VALUE = "fwd returns the primal's value"


def compare_vjp(
    f: Callable[..., Any],
    *args: Any,
    reference: Callable[..., Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Report:
    r"""Compares every element of every cotangent of `f(*args, **kwargs)` with an oracle's, and reports what differs.

    $$\text{error of } dx = \max_{\bar y} \frac{\max |dx_f - dx_\text{oracle}|}{\max |dx_\text{oracle}|}$$

    The oracle is JAX's own derivative of `automatic(f)`, the same code without its rules, or of `reference`, which
    takes the same arguments. Both are run with several cotangents in the caller's dtypes and again in float64.

    `f` is any function or `custom_vjp`; float arrays in any pytree are differentiated, everything else is passed on.
    The bounds follow from dtype and length of the sums; `rtol` (a fraction of max|g|) replaces them. `seed` chooses
    the random cotangents. Nothing global is changed, float64 is on only inside.

    A NaN in the data may make the gradient NaN where the oracle's is not. At a kink, such as relu at exactly 0, the
    oracle's convention is the only right one: a rule with another is called wrong there unless `reference` has it too.

    Raises ValueError where there is nothing to differentiate or the reference returns something else, TypeError for
    values that are being traced; an error of the primal or of the oracle passes through.

    >>> import jax
    >>> @jax.custom_vjp
    ... def scale(x, w):
    ...     return x * w
    >>> scale.defvjp(lambda x, w: (x * w, (x, w)), lambda residuals, dy: (dy * residuals[1], -dy * residuals[0]))
    >>> report = compare_vjp(scale, jax.numpy.arange(3.0), jax.numpy.ones(3))
    >>> report.ok, report.wrong
    (False, ('w',))
    >>> [row.verdict for row in report.rows]
    ['ok', 'wrong: formula error 2.0 of max|g| (cotangent: random)']
    """
    options = dict(kwargs or {})
    call = take_apart(f, args, options)
    primal = automatic(f)
    outputs, _ = jax.eval_shape(lambda values: split_outputs(primal, call, values), call.values)
    if not outputs:
        raise ValueError(f"compare_vjp: {function_name(f)} returns no float array, so there is nothing to pull back")
    oracle = primal if reference is None else reference
    _require_same_outputs(function_name(f), outputs, oracle, call)
    named = cotangents(outputs, seed)
    d_out = next(iter(named.values()))
    traced = [trace(oracle, call, call.values, d_out)]
    checks, complaints = _structure(f, primal, args, options, call)
    comparison, notes = None, ()
    try:
        traced.insert(0, trace(f, call, call.values, d_out))
    except Exception as error:  # whatever a rule raises is a finding: the oracle took the same call
        checks.append(Check("the rule runs", False, first_line(error)))
    else:
        rule_run, oracle_run = evaluate(traced, call.values, named)
        complaints |= _dtype_complaints(call, rule_run)
        runs64, notes = _in_float64(f, oracle, call, named, (rule_run, oracle_run))
        comparison = Comparison(rule_run, oracle_run, *runs64, named, call.values, rtol)
        checks += _contract(f, primal, reference, call, comparison)
    title = "its own primal, differentiated by JAX" if reference is None else function_name(reference)
    return Report(function_name(f), title, argument_rows(call, comparison, complaints), tuple(checks), notes)


def check_vjp(
    f: Callable[..., Any],
    *args: Any,
    reference: Callable[..., Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Report:
    """Is `compare_vjp`, and raises `VJPError` (an AssertionError) with the table where a gradient is wrong.

    >>> import jax
    >>> check_vjp(jax.numpy.sin, jax.numpy.arange(3.0)).ok
    True
    """
    report = compare_vjp(f, *args, reference=reference, kwargs=kwargs, rtol=rtol, seed=seed)
    if not report.ok:
        raise VJPError(report)
    return report


def _structure(
    f: Callable[..., Any], primal: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], call: Call
) -> tuple[list[Check], dict[str, str]]:
    """The checks of types; those of `bwd` only where `f` is itself a rule whose `bwd` can be called."""
    rule = find_rule(f, args, kwargs)
    checks = [fwd_check(f, primal, call)]
    if rule is None or not rule.plain:
        return checks, {}
    check, complaints = bwd_check(rule)
    return [*checks, check], complaints


def _require_same_outputs(name: str, outputs: Sequence[Any], oracle: Callable[..., Any], call: Call) -> None:
    found, _ = jax.eval_shape(lambda values: split_outputs(oracle, call, values), call.values)
    types = [", ".join(f"{out.dtype}{list(out.shape)}" for out in outs) for outs in (found, outputs)]
    if types[0] != types[1]:
        raise ValueError(f"compare_vjp: the reference returns {types[0]} where {name} returns {types[1]}")


def _dtype_complaints(call: Call, run: Evaluation) -> dict[str, str]:
    """A cotangent that comes out of `jax.vjp` in another dtype than its argument's, which an optimizer would apply."""
    found = next(iter(run.pulled.values())).cotangents
    complaints = {}
    for i, value, cotangent in zip(call.differentiated, call.values, found, strict=True):
        wanted = jnp.asarray(value).dtype
        if cotangent.dtype != wanted:
            complaints[call.names[i]] = f"cotangent is {cotangent.dtype}, the argument {wanted}"
    return complaints


def _in_float64(
    f: Callable[..., Any],
    oracle: Callable[..., Any],
    call: Call,
    named: dict[str, Cotangents],
    given: tuple[Evaluation, Evaluation],
) -> tuple[tuple[Evaluation | None, Evaluation | None], tuple[str, ...]]:
    """Runs rule and oracle again in float64; where that is impossible the caller's dtype must do, with a note."""
    d_outs = next(iter(named.values()))
    if all(jnp.finfo(jnp.asarray(x).dtype).bits == 64 for x in (*call.values, *d_outs)):
        return given, ()
    values = to_float64(call.values)
    try:
        with float64_scope():
            # As an argument, since JAX takes no float64 constant under `vmap`; float32 where a function says so.
            outputs, _ = jax.eval_shape(lambda leaves: split_outputs(oracle, call, leaves), values)
            wide = {
                name: tuple(ct.astype(out.dtype) for ct, out in zip(to_float64(d_out), outputs, strict=True))
                for name, d_out in named.items()
            }
            traced = [trace(function, call, values, next(iter(wide.values()))) for function in (f, oracle)]
            rule_run, oracle_run = evaluate(traced, values, wide)
            return (rule_run, oracle_run), ()
    except Exception as error:  # a function may refuse float64, or mix it with float32 in an operation that cannot
        return (None, None), (f"note: no float64 run, formula and rounding are not told apart: {first_line(error)}",)


def _contract(
    f: Callable[..., Any],
    primal: Callable[..., Any],
    reference: Callable[..., Any] | None,
    call: Call,
    comparison: Comparison,
) -> list[Check]:
    oracle = primal if reference is None else reference
    of_oracle = next(iter(comparison.oracle.pulled.values()))
    values, others = of_oracle.values, of_oracle.others
    values64 = next(iter(comparison.oracle64.pulled.values())).values if comparison.oracle64 else None
    if reference is None:
        checks = [contract.value_check(VALUE, comparison, values, values64, others)]
    else:
        given, given_others = jax.jit(lambda leaves: split_outputs(primal, call, leaves))(call.values)
        of_reference = f"the value is that of {function_name(reference)}"
        checks = [
            contract.value_check(VALUE, comparison, given, None, given_others),
            contract.value_check(of_reference, comparison, values, values64, others),
        ]
    checks += [contract.linearity_check(call, comparison), contract.zero_check(call, comparison)]
    checks.append(contract.jit_check(f, call, comparison))
    vmapped = contract.vmap_check(f, oracle, call, comparison)
    return checks if vmapped is None else [*checks, vmapped]
