"""Rule and oracle run with every cotangent, in the caller's dtypes and once more in float64."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.arguments import Call, large
from jbackprop.verify.bounds import USELESS, coarsest_epsilon, epsilon
from jbackprop.verify.cotangents import OF_RULE_ALONE, Cotangents
from jbackprop.verify.distance import as_numpy, finite_gap, largest
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import Comparison
from jbackprop.verify.pullback import Evaluation, Pulled, Run, RunOne, Traced, compiled, evaluate, split_outputs, trace
from jbackprop.verify.structure import in_one_line
from jbackprop.verify.widen import AsTraced, constant_epsilon, is_narrow, widened


class _Float64(NamedTuple):
    """The part of a `Comparison` that is in float64."""

    rule64: Evaluation | None
    oracle64: Evaluation | None
    run64: Run | None
    run_rule64: RunOne | None
    traced64: AsTraced | None


def compared(
    f: Callable[..., Any],
    oracle: Callable[..., Any],
    call: Call,
    traced: Sequence[Traced],
    named: Mapping[str, Cotangents],
    rtol: float | None,
) -> tuple[Comparison, tuple[str, ...]]:
    """Returns the comparison of `f` and `oracle`, traced in this order, and notes on what could not be run."""
    of_rule = OF_RULE_ALONE if large(call) else frozenset()
    wide = {name: d_out for name, d_out in named.items() if name not in of_rule}  # float64 costs far more
    run, run_rule = (_apart if large(call) else _together)(traced, call.values, named["random"])
    if all(jnp.finfo(jnp.asarray(x).dtype).bits == 64 for x in (*call.values, *named["random"])):
        rule_run, oracle_run = evaluate(traced, call.values, named, run, run_rule, of_rule)
        as_it_is = _way(call, traced, True, epsilon(np.float64))
        in_float64, notes = _Float64(rule_run, oracle_run, run, run_rule, as_it_is), ()
    else:
        in_float64, notes = _in_float64(f, oracle, call, wide, traced)
        rule_run, oracle_run = evaluate(traced, call.values, named, run, run_rule, of_rule)
        if in_float64 and _draws_otherwise(oracle_run, in_float64.oracle64):
            in_float64, notes = _as_traced(call, wide, traced)
    in_float64 = in_float64 or _Float64(*[None] * len(_Float64._fields))
    return Comparison(
        rule=rule_run,
        oracle=oracle_run,
        run=run,
        run_rule=run_rule,
        **in_float64._asdict(),
        cotangents=named,
        inputs=call.values,
        rtol=rtol,
    ), notes


def run_at(comparison: Comparison, inputs: Sequence[Any], d_out: Sequence[Any]) -> list[Pulled]:
    """Returns rule and oracle at other inputs and cotangents: in float64, or in the caller's dtypes without it."""
    values = next(iter((comparison.oracle64 or comparison.oracle).pulled.values())).values
    cast = [np.asarray(ct).astype(value.dtype) for ct, value in zip(d_out, values, strict=True)]
    if comparison.run64 is None:
        given = [np.asarray(x).astype(leaf.dtype) for x, leaf in zip(inputs, comparison.leaves, strict=True)]
        return comparison.run(given, cast)
    with float64_scope():
        return comparison.run64(to_float64(list(inputs)), cast)


def _draws_otherwise(oracle: Evaluation, oracle64: Evaluation | None) -> bool:
    """Whether random numbers inside are others in float64, as `jax.random.bernoulli(key, 0.9)` draws them."""
    assert oracle64 is not None
    if not re.search(r"\b(random|rng)_", str(oracle.jaxpr)):
        return False
    values, wide = (next(iter(one.pulled.values())).values for one in (oracle, oracle64))
    for value, other in zip(values, wide, strict=True):
        if finite_gap(as_numpy(value), as_numpy(other)) > USELESS * largest(as_numpy(other)):
            return True
    return False


def _together(traced: Sequence[Traced], values: Sequence[Any], d_out: Sequence[Any]) -> tuple[Run, RunOne]:
    """Returns rule and oracle as one program, and its rule: what both compute, such as the value, is computed once."""
    run = compiled(traced, values, d_out)
    return run, lambda values, d_out: run(values, d_out)[0]


def _apart(traced: Sequence[Traced], values: Sequence[Any], d_out: Sequence[Any]) -> tuple[Run, RunOne]:
    """Returns rule and oracle as two programs, and the rule alone, for cotangents that only the rule is run with."""
    rule, oracle = (compiled([one], values, d_out) for one in traced)
    return lambda values, d_out: rule(values, d_out) + oracle(values, d_out), lambda v, d_out: rule(v, d_out)[0]


def _in_float64(
    f: Callable[..., Any],
    oracle: Callable[..., Any],
    call: Call,
    named: Mapping[str, Cotangents],
    given: Sequence[Traced],
) -> tuple[_Float64 | None, tuple[str, ...]]:
    """Runs rule and oracle again, traced with float64; where they refuse that, as they were traced in `given`."""
    values = to_float64(call.values)
    try:
        with float64_scope():
            d_out, _ = jax.eval_shape(lambda leaves: split_outputs(oracle, call, leaves), values)
            traced = [trace(function, call, values, d_out) for function in (f, oracle)]
            return _evaluated(call, named, traced, _way(call, traced, True, _floor(call, given))), ()
    except Exception:  # a function may refuse float64, or mix it with float32 in an operation that cannot
        return _as_traced(call, named, given)


def _as_traced(
    call: Call, named: Mapping[str, Cotangents], given: Sequence[Traced]
) -> tuple[_Float64 | None, tuple[str, ...]]:
    """Runs rule and oracle again in float64 as they were traced in the caller's dtypes, so with the same random bits.

    What Python made of a dtype while they were traced, such as its epsilon, stays as it was.
    """
    x64 = bool(jax.config.read("jax_enable_x64"))
    try:
        with float64_scope():
            return _evaluated(call, named, given, _way(call, given, x64, _floor(call, given))), ()
    except Exception as error:
        note = f"note: no float64 run, formula and rounding are not told apart: {in_one_line(error)}"
        return None, (note,)


def _evaluated(call: Call, named: Mapping[str, Cotangents], jaxprs: Sequence[Traced], traced: AsTraced) -> _Float64:
    """Runs rule and oracle with float64 also where they name a narrower float that the caller or the oracle has."""
    carried = [Traced(widened(one.jaxpr, traced.floor), one.tree) for one in jaxprs]
    if any(
        is_narrow(before.jaxpr) and after.jaxpr is before.jaxpr for before, after in zip(jaxprs, carried, strict=True)
    ):
        carried = jaxprs  # both or neither: they take the same cotangents
    constants = max(constant_epsilon(one.jaxpr, traced.floor) for one in jaxprs)
    values, avals = to_float64(call.values), carried[0].jaxpr.in_avals[len(call.values) :]
    wide = {
        name: tuple(ct.astype(aval.dtype, copy=False) for ct, aval in zip(to_float64(d_out), avals, strict=True))
        for name, d_out in named.items()
    }
    # As arguments, since JAX takes no float64 constant under `vmap`.
    run, run_rule = _together(carried, values, wide["random"])
    rule_run, oracle_run = evaluate(carried, values, wide, run, run_rule)
    # What a callback cannot do in float64 is raised here: on its own thread JAX knows of no float64.
    jax.block_until_ready((rule_run.pulled, oracle_run.pulled))
    return _Float64(rule_run, oracle_run, run, run_rule, traced._replace(constants=constants))


def _floor(call: Call, given: Sequence[Traced]) -> float:
    """The coarsest epsilon of the caller's dtypes and of those that the oracle names: a rule has no right to others."""
    return max(coarsest_epsilon(given[1].jaxpr), *(epsilon(jnp.asarray(x).dtype) for x in call.values))


def _way(call: Call, traced: Sequence[Traced], x64: bool, floor: float) -> AsTraced:
    types = [jax.ShapeDtypeStruct(t.shape, t.dtype, weak_type=t.weak_type) for t in traced[0].jaxpr.in_avals]
    return AsTraced(tuple(types[: len(call.values)]), tuple(types[len(call.values) :]), x64, floor)
