"""The clauses of the contract that need numbers: value, linearity, zero, and the same result without `jit`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify import bounds
from jbackprop.verify.arguments import Call, large
from jbackprop.verify.clause_names import JIT, LINEAR, ZERO
from jbackprop.verify.cotangents import factors_of_large
from jbackprop.verify.distance import accept_nan, as_double, as_numpy, finite_gap, gap, largest, relative
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import ACCURACY, Comparison, nan_allowed
from jbackprop.verify.pullback import Pulled, pullback
from jbackprop.verify.report import Check
from jbackprop.verify.structure import in_one_line
from jbackprop.verify.verdict import spoken

Arrays = Sequence[Any]


def value_check(name: str, comparison: Comparison, wanted: Arrays, wanted64: Arrays | None, others: Arrays) -> Check:
    """Compares the value that comes with the rule's gradient (`fwd`'s) with the one wanted, also in float64.

    `others` are the outputs that are no floats, which rounding does not excuse: each element must be the same.
    """
    if not all(map(_equal, _some(comparison.rule.pulled).others, others)):
        return Check(name, False, "an integer or boolean output differs")
    found = _some(comparison.rule.pulled).values
    found64 = _some(comparison.rule64.pulled).values if comparison.rule64 else None
    size = max(1.0, *(largest(as_numpy(x)) for x in comparison.inputs))
    root = math.sqrt(bounds.longest_sum(comparison.oracle.jaxpr))
    for i, (one, other) in enumerate(zip(found, wanted, strict=True)):
        apart = gap(as_numpy(one), as_numpy(other))
        scale = max(largest(as_numpy(other)), size)
        allowed = bounds.ROUNDING * bounds.epsilon(other.dtype) * (1 + root) * scale
        if found64 is not None and wanted64 is not None and comparison.rule64 and comparison.oracle64:
            one64, other64 = as_numpy(found64[i]), as_numpy(wanted64[i])
            apart64 = gap(one64, other64)
            if apart == apart64 == 0:
                continue
            automatic = finite_gap(as_numpy(other), other64)
            rounding = max(finite_gap(as_numpy(one), one64), automatic) / scale
            eps = max(bounds.coarsest_epsilon(run.jaxpr) for run in (comparison.rule64, comparison.oracle64))
            amplification = root + rounding / bounds.epsilon(other.dtype)
            allowed64 = bounds.formula_bound(eps, 1, amplification, constants=comparison.constants) * scale
            allowed = max(allowed, ACCURACY * automatic)
            if apart64 > max(allowed64, _rtol(comparison, scale)):
                return Check(name, False, _off_by(apart64, other))
        if apart > max(allowed, _rtol(comparison, scale)):
            return Check(name, False, _off_by(apart, other))
    return Check(name, True)


def linearity_check(call: Call, comparison: Comparison) -> Check:
    """Compares the pullback of a sum of two cotangents with the sum of the pullbacks, in float64 where there is one."""
    if large(call):
        return _homogeneity_check(call, comparison)
    one, other = (comparison.cotangents[key] for key in ("random", "another random"))
    rule = comparison.rule64 or comparison.rule
    both = tuple(
        (a + b).astype(value.dtype)
        for a, b, value in zip(to_float64(one), to_float64(other), _some(rule.pulled).values, strict=True)
    )
    if comparison.run_rule64 is None or rule is comparison.rule:
        together = comparison.run_rule(call.values, both)
    else:
        with float64_scope():
            together = comparison.run_rule64(to_float64(call.values), both)
    for i, leaf in enumerate(comparison.leaves):
        parts = [as_double(rule.pulled[key].cotangents[i]) for key in ("random", "another random")]
        with np.errstate(all="ignore"):  # infinity - infinity, which is not looked at
            distance = finite_gap(as_numpy(together.cotangents[i]), np.asarray(parts[0] + parts[1]))
        scale = max(largest(parts[0]), largest(parts[1]), leaf.gaps[0].scale)
        bound = 4 * leaf.bounds.repeated if comparison.rule64 is None else leaf.bounds.formula
        if distance > max(bound * scale, leaf.gaps[0].noise64, leaf.gaps[0].slack64, leaf.bounds.underflow):
            return Check(LINEAR, False, _far(call, i, distance, scale))
    return Check(LINEAR, True)


def _homogeneity_check(call: Call, comparison: Comparison) -> Check:
    """Compares the pullback of c times a cotangent with c times its pullback, for large c and small, as given."""
    for name, c in factors_of_large(comparison.cotangents["random"]).items():
        check = _multiple_check(call, comparison, name, c)
        if not check.ok:
            return check
    return Check(LINEAR, True)


def _multiple_check(call: Call, comparison: Comparison, name: str, c: float) -> Check:
    random, other = (comparison.rule.pulled[key].cotangents for key in ("random", name))
    for i, leaf in enumerate(comparison.leaves):
        with np.errstate(all="ignore"):
            multiple = as_numpy(random[i]) * c  # a power of two: exact, but for overflow and underflow
        distance = gap(as_numpy(other[i]), multiple)
        if math.isinf(distance):
            oracle = comparison.run(call.values, comparison.cotangents[name])[1].cotangents[i]
            if np.any(np.isfinite(as_numpy(oracle)) & ~np.isfinite(as_numpy(other[i]))):
                return Check(LINEAR, False, f"d{name_of(call, i)} is not finite for a cotangent that is {name}")
            distance = finite_gap(as_numpy(other[i]), multiple)
        scale = abs(c) * max(largest(as_numpy(random[i])), leaf.gaps[0].scale)
        noise = max(abs(c) * leaf.gaps[0].noise, max(abs(c), 1.0) * leaf.bounds.underflow)
        if distance > max(leaf.bounds.repeated * scale, noise):
            return Check(LINEAR, False, f"{_far(call, i, distance, scale)}, for a cotangent that is {name}")
    return Check(LINEAR, True)


def zero_check(call: Call, comparison: Comparison) -> Check:
    """A cotangent of zeros must come back as zeros (or as NaN where the oracle or the data have it too)."""
    rule = comparison.rule.pulled["zeros"]
    if not any(np.any(np.asarray(one)) for one in rule.cotangents):
        return Check(ZERO, True)
    oracle = comparison.oracle.pulled.get("zeros") or comparison.run(call.values, comparison.cotangents["zeros"])[1]
    for i, (one, other) in enumerate(zip(rule.cotangents, oracle.cotangents, strict=True)):
        found, wanted = as_numpy(one), as_numpy(other)
        wanted = np.where(np.isnan(wanted) & (found == 0), 0.0, wanted)  # zero times infinity, which a rule may spare
        if gap(accept_nan(found, wanted, nan_allowed(comparison, i)), wanted) > 0:
            return Check(ZERO, False, f"d{name_of(call, i)} is not")
    return Check(ZERO, True)


def jit_check(f: Callable[..., Any], oracle: Callable[..., Any], call: Call, comparison: Comparison) -> Check:
    """Compares the compiled pullback with one that runs operation by operation, dtypes included.

    Where digits cancel, the two may round apart: as far as the oracle's do is no mistake of the rule.
    """
    d_out = tuple(map(jnp.asarray, comparison.cotangents["random"]))
    try:
        eager = pullback(f, call)(call.values, d_out)
    except Exception as error:  # a rule that needs `jit` is a finding
        return Check(JIT, False, in_one_line(error))
    compiled = comparison.rule.pulled["random"]
    check = same(JIT, call, comparison, eager, compiled)
    if check.ok:
        return check
    try:
        by_oracle = pullback(oracle, call)(call.values, d_out)
    except Exception:  # the oracle needs `jit`, and has no say
        return check
    pairs = zip(by_oracle.cotangents, comparison.oracle.pulled["random"].cotangents, strict=True)
    apart = [(finite_gap(as_numpy(one), as_numpy(other)), largest(as_numpy(other))) for one, other in pairs]
    slack = [min(ACCURACY * distance, bounds.USELESS * scale) for distance, scale in apart]
    return same(JIT, call, comparison, eager, compiled, slack)


def same(
    name: str, call: Call, comparison: Comparison, found: Pulled, wanted: Pulled, slack: Sequence[float] = ()
) -> Check:
    """Compares two runs of the rule at the same point, which differ by rounding alone, or by `slack` for each leaf."""
    for i, leaf in enumerate(comparison.leaves):
        one, other = found.cotangents[i], wanted.cotangents[i]
        if jax.dtypes.canonicalize_dtype(other.dtype) != one.dtype:
            return Check(name, False, f"d{name_of(call, i)} is {one.dtype}, with jit {other.dtype}")
        scale = max(largest(as_numpy(other)), leaf.gaps[0].scale)
        errors = [relative(max(g.rounding, g.automatic), g.scale) for g in leaf.gaps if g.scale]
        amplified = ACCURACY * max(errors, default=0.0)
        distance = gap(as_numpy(one), as_numpy(other))
        allowed = max(max(leaf.bounds.repeated, amplified) * scale, leaf.gaps[0].noise, leaf.bounds.underflow)
        if distance > max(allowed, *slack[i : i + 1], 0.0):
            return Check(name, False, _far(call, i, distance, scale))
    return Check(name, True)


def name_of(call: Call, i: int) -> str:
    """Returns the name of differentiated leaf `i`."""
    return call.names[call.differentiated[i]]


def _far(call: Call, i: int, distance: float, scale: float) -> str:
    return f"d{name_of(call, i)} is off by {spoken(relative(distance, scale))} of max|g|"


def _equal(one: Any, other: Any) -> bool:
    if jnp.issubdtype(one.dtype, jax.dtypes.prng_key) and jnp.issubdtype(other.dtype, jax.dtypes.prng_key):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    return np.array_equal(np.asarray(one), np.asarray(other))


def _some(pulled: dict[str, Pulled]) -> Pulled:
    return next(iter(pulled.values()))


def _rtol(comparison: Comparison, scale: float) -> float:
    return 0.0 if comparison.rtol is None else comparison.rtol * scale


def _off_by(distance: float, wanted: Any) -> str:
    return f"off by {spoken(relative(distance, largest(as_numpy(wanted))))} of max|y|"
