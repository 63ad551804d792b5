"""Rule and oracle run with every cotangent, in the caller's dtypes and once more in float64."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jbackprop.verify.arguments import Call, large
from jbackprop.verify.bounds import USELESS
from jbackprop.verify.cotangents import OF_RULE_ALONE, Cotangents, of_large
from jbackprop.verify.distance import as_numpy, finite_gap, largest
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import Comparison
from jbackprop.verify.pullback import Evaluation, Run, RunOne, Traced, compiled, evaluate, split_outputs, trace
from jbackprop.verify.structure import first_line

DRAWS_OTHERWISE = (
    "note: no float64 run, formula and rounding are not told apart: random numbers inside are others in float64; "
    "draw them in a dtype that does not change, as bernoulli(key, jnp.float32(p))"
)
Wide = tuple[tuple[Evaluation, Evaluation], tuple[Run, RunOne]]


def compared(
    f: Callable[..., Any],
    oracle: Callable[..., Any],
    call: Call,
    traced: Sequence[Traced],
    named: Mapping[str, Cotangents],
    rtol: float | None,
) -> tuple[Comparison, tuple[str, ...]]:
    """Returns the comparison of `f` and `oracle`, traced in this order, and notes on what could not be run."""
    given, wide = of_large(named) if large(call) else (dict(named), dict(named))
    of_rule = OF_RULE_ALONE if large(call) else frozenset()
    run, run_rule = (_apart if large(call) else _together)(traced, call.values, given["random"])
    if all(jnp.finfo(jnp.asarray(x).dtype).bits == 64 for x in (*call.values, *given["random"])):
        rule_run, oracle_run = evaluate(traced, call.values, given, run, run_rule, of_rule)
        runs = (run, run_rule, run, run_rule)
        return Comparison(rule_run, oracle_run, rule_run, oracle_run, *runs, named, call.values, rtol), ()
    in_float64, notes = _in_float64(f, oracle, call, wide)
    rule_run, oracle_run = evaluate(traced, call.values, given, run, run_rule, of_rule)
    if in_float64 and _draws_otherwise(oracle_run, in_float64[0][1]):
        in_float64, notes = None, (DRAWS_OTHERWISE,)
    evaluations, runs = in_float64 or ((None, None), (None, None))
    return Comparison(rule_run, oracle_run, *evaluations, run, run_rule, *runs, named, call.values, rtol), notes


def _draws_otherwise(oracle: Evaluation, oracle64: Evaluation) -> bool:
    """Whether random numbers inside are others in float64, as `jax.random.bernoulli(key, 0.9)` draws them."""
    values, wide = (next(iter(one.pulled.values())).values for one in (oracle, oracle64))
    for value, other in zip(values, wide, strict=True):
        if finite_gap(as_numpy(value), as_numpy(other)) > USELESS * largest(as_numpy(other)):
            return "random_bits" in str(oracle.jaxpr)
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
    f: Callable[..., Any], oracle: Callable[..., Any], call: Call, named: Mapping[str, Cotangents]
) -> tuple[Wide | None, tuple[str, ...]]:
    """Runs rule and oracle again in float64; where that is impossible the caller's dtype must do, with a note."""
    values = to_float64(call.values)
    try:
        with float64_scope():
            # As an argument, since JAX takes no float64 constant under `vmap`; float32 where a function says so.
            outputs, _ = jax.eval_shape(lambda leaves: split_outputs(oracle, call, leaves), values)
            wide = {
                name: tuple(ct.astype(out.dtype) for ct, out in zip(to_float64(d_out), outputs, strict=True))
                for name, d_out in named.items()
            }
            traced = [trace(function, call, values, wide["random"]) for function in (f, oracle)]
            run, run_rule = _together(traced, values, wide["random"])
            rule_run, oracle_run = evaluate(traced, values, wide, run, run_rule)
            return ((rule_run, oracle_run), (run, run_rule)), ()
    except Exception as error:  # a function may refuse float64, or mix it with float32 in an operation that cannot
        note = f"note: no float64 run, formula and rounding are not told apart: {first_line(error)}"
        return None, (note,)
