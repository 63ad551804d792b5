"""The clauses of the contract that need numbers: value, linearity, and the same result under `jit` and `vmap`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify import bounds
from jbackprop.verify.arguments import Call
from jbackprop.verify.distance import accept_nan, as_double, finite_gap, gap, largest, relative
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import Comparison, leaf_bounds, leaf_gaps, nan_allowed
from jbackprop.verify.pullback import Pulled, pullback
from jbackprop.verify.report import Check
from jbackprop.verify.structure import first_line
from jbackprop.verify.verdict import ACCURACY, sentence

Arrays = Sequence[Any]


def value_check(name: str, comparison: Comparison, wanted: Arrays, wanted64: Arrays | None, others: Arrays) -> Check:
    """Compares the value that comes with the rule's gradient (`fwd`'s) with the one wanted, also in float64.

    `others` are the outputs that are no floats, which rounding does not excuse: each element must be the same.
    """
    if not all(map(_equal, _some(comparison.rule.pulled).others, others)):
        return Check(name, False, "an integer or boolean output differs")
    found = _some(comparison.rule.pulled).values
    found64 = _some(comparison.rule64.pulled).values if comparison.rule64 else None
    size = max(1.0, *(largest(as_double(x)) for x in comparison.inputs))
    root = math.sqrt(bounds.longest_sum(comparison.oracle.jaxpr))
    for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
        scale = max(largest(as_double(other)), size)
        allowed = bounds.ROUNDING * bounds.epsilon(other.dtype) * (1 + root) * scale
        if found64 is not None and wanted64 is not None and comparison.rule64 and comparison.oracle64:
            one64, other64 = as_double(found64[i]), as_double(wanted64[i])
            rounding = max(finite_gap(as_double(one), one64), finite_gap(as_double(other), other64)) / scale
            eps = max(bounds.coarsest_epsilon(run.jaxpr) for run in (comparison.rule64, comparison.oracle64))
            allowed64 = bounds.formula_bound(eps, 1, root + rounding / bounds.epsilon(other.dtype)) * scale
            allowed = max(allowed, ACCURACY * finite_gap(as_double(other), other64))
            if gap(one64, other64) > max(allowed64, _rtol(comparison, scale)):
                return Check(name, False, _off_by(gap(one64, other64), other))
        if gap(as_double(one), as_double(other)) > max(allowed, _rtol(comparison, scale)):
            return Check(name, False, _off_by(gap(as_double(one), as_double(other)), other))
    return Check(name, True)


def linearity_check(call: Call, comparison: Comparison) -> Check:
    """Compares the pullback of a sum of two cotangents with the sum of the pullbacks, in float64 where there is one."""
    name = "linear in the cotangent"
    one, other = (comparison.cotangents[key] for key in ("random", "another random"))
    rule = comparison.rule64 or comparison.rule
    both = tuple(
        (a + b).astype(value.dtype)
        for a, b, value in zip(to_float64(one), to_float64(other), _some(rule.pulled).values, strict=True)
    )
    if rule is comparison.rule:
        together = rule.run(call.values, both)
    else:
        with float64_scope():
            together = rule.run(to_float64(call.values), both)
    for i, dtype in enumerate(_dtypes(call)):
        parts = [as_double(rule.pulled[key].cotangents[i]) for key in ("random", "another random")]
        with np.errstate(all="ignore"):  # infinity - infinity, which is not looked at
            distance = finite_gap(as_double(together.cotangents[i]), np.asarray(parts[0] + parts[1]))
        found = leaf_gaps(comparison, i, dtype)
        allowed = leaf_bounds(comparison, found, dtype)
        scale = max(largest(parts[0]), largest(parts[1]), found[0].scale)
        bound = 4 * allowed.repeated if comparison.rule64 is None else allowed.formula
        if distance > max(bound * scale, found[0].noise64, allowed.underflow):
            return Check(name, False, f"d{_name(call, i)} is off by {sentence(relative(distance, scale))} of max|g|")
    return Check(name, True)


def zero_check(call: Call, comparison: Comparison) -> Check:
    """A cotangent of zeros must come back as zeros (or as NaN where the oracle or the data have it too)."""
    name = "zero for a zero cotangent"
    rule, oracle = comparison.rule.pulled["zeros"], comparison.oracle.pulled["zeros"]
    for i, (one, other) in enumerate(zip(rule.cotangents, oracle.cotangents, strict=True)):
        wanted = as_double(other)
        if gap(accept_nan(as_double(one), wanted, nan_allowed(comparison, i)), wanted) > 0:
            return Check(name, False, f"d{_name(call, i)} is not")
    return Check(name, True)


def jit_check(f: Callable[..., Any], call: Call, comparison: Comparison) -> Check:
    """Compares the compiled pullback with one that runs operation by operation, dtypes included."""
    d_out = tuple(map(jnp.asarray, comparison.cotangents["random"]))
    try:
        eager = pullback(f, call)(call.values, d_out)
    except Exception as error:  # a rule that needs `jit` is a finding
        return Check("the same without jit", False, first_line(error))
    return _same("the same without jit", call, comparison, eager, comparison.rule.pulled["random"], 1)


def vmap_check(f: Callable[..., Any], oracle: Callable[..., Any], call: Call, comparison: Comparison) -> Check | None:
    """Compares the pullback under `vmap`, over two examples, with a loop; None where the oracle cannot be batched."""
    name = "vmap is the loop"
    flipped = tuple(map(_flipped, call.values))  # the same numbers in another place, so inside the domain of f
    one, other = (comparison.cotangents[key] for key in ("random", "another random"))
    stacked = [jax.tree.map(_stacked, *pair) for pair in ((call.values, flipped), (one, other))]
    try:
        batched = jax.jit(jax.vmap(pullback(f, call)))(*stacked)
    except Exception as error:
        try:
            jax.eval_shape(jax.vmap(pullback(oracle, call)), *stacked)
        except Exception:  # not the rule's fault
            return None
        return Check(name, False, first_line(error))
    for k, looped in enumerate((comparison.rule.pulled["random"], comparison.rule.run(flipped, other))):
        check = _same(name, call, comparison, jax.tree.map(lambda leaf, k=k: np.asarray(leaf)[k], batched), looped, 4)
        if not check.ok:
            return check
    return Check(name, True)


def _same(name: str, call: Call, comparison: Comparison, found: Pulled, wanted: Pulled, slack: int) -> Check:
    for i, dtype in enumerate(_dtypes(call)):
        one, other = found.cotangents[i], wanted.cotangents[i]
        if jax.dtypes.canonicalize_dtype(other.dtype) != one.dtype:
            return Check(name, False, f"d{_name(call, i)} is {one.dtype}, with jit {other.dtype}")
        gaps = leaf_gaps(comparison, i, dtype)
        allowed = leaf_bounds(comparison, gaps, dtype)
        scale = max(largest(as_double(other)), gaps[0].scale)
        errors = [relative(max(g.rounding, g.automatic), g.scale) for g in gaps if g.scale]
        amplified = ACCURACY * max(errors, default=0.0)
        distance = gap(as_double(one), as_double(other))
        if distance > slack * max(max(allowed.repeated, amplified) * scale, gaps[0].noise, allowed.underflow):
            return Check(name, False, f"d{_name(call, i)} is off by {sentence(relative(distance, scale))} of max|g|")
    return Check(name, True)


def _equal(one: Any, other: Any) -> bool:
    if jnp.issubdtype(one.dtype, jax.dtypes.prng_key) and jnp.issubdtype(other.dtype, jax.dtypes.prng_key):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    return np.array_equal(np.asarray(one), np.asarray(other))


def _flipped(value: Any) -> Any:
    return value if isinstance(value, float | complex) else np.flip(np.asarray(value))


def _stacked(one: Any, other: Any) -> np.ndarray:
    array = jnp.asarray(one)
    return np.stack([np.asarray(leaf, array.dtype) for leaf in (array, other)])


def _some(pulled: dict[str, Pulled]) -> Pulled:
    return next(iter(pulled.values()))


def _dtypes(call: Call) -> list[Any]:
    return [jnp.asarray(value).dtype for value in call.values]


def _name(call: Call, i: int) -> str:
    return call.names[call.differentiated[i]]


def _rtol(comparison: Comparison, scale: float) -> float:
    return 0.0 if comparison.rtol is None else comparison.rtol * scale


def _off_by(distance: float, wanted: Any) -> str:
    return f"off by {sentence(relative(distance, largest(as_double(wanted))))} of max|y|"
