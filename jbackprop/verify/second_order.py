"""Second derivatives: the gradient of a gradient through the rule, against the same of the oracle.

With random directions $u$ and $v$ in the space of the leaves, both ways around:

$$\\nabla_x <u, vjp_f(x; \\bar y)> \\qquad \\frac{d}{dt} vjp_f(x + t v; \\bar y)$$
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify import clause_names
from jbackprop.verify.arguments import Call
from jbackprop.verify.compiling import BARELY_OPTIMISED
from jbackprop.verify.conditioning import DRAWS, FURTHER, MARGIN, SHARE
from jbackprop.verify.contract import name_of
from jbackprop.verify.cotangents import SECOND_ORDER
from jbackprop.verify.distance import as_double, largest, relative
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import Comparison, nan_allowed
from jbackprop.verify.pullback import pullback
from jbackprop.verify.report import Check
from jbackprop.verify.structure import in_one_line
from jbackprop.verify.verdict import spoken
from jbackprop.verify.widen import carried_in_float64

ROUNDING = 1e-4  # of the largest element, up to which rounding may explain what differs
SLACK = 64  # a second derivative amplifies rounding once more than the first
STEPS = (1e-6, 1e-6, 1e-6, 1e-3, 1e-3)  # to points next by: at a kink the second derivatives need not agree


def second_order_check(
    f: Callable[..., Any], oracle: Callable[..., Any], call: Call, comparison: Comparison, seed: int
) -> Check | None:
    """Returns the check, or None where JAX cannot differentiate the oracle twice, or there is no float64 run.

    A rule that JAX cannot differentiate twice, such as one that calls out of JAX, is no wrong one: the check says so.
    """
    if comparison.run64 is None or any(np.iscomplexobj(x) for x in comparison.inputs):
        return None
    if not all(jnp.issubdtype(ct.dtype, jnp.inexact) for ct in comparison.rule.pulled["random"].cotangents):
        return None  # integers, which have no derivative, and have been complained of
    rng = np.random.default_rng([seed, SECOND_ORDER])
    with float64_scope():
        values = tuple(jnp.asarray(x, jnp.float64) for x in to_float64(comparison.inputs))
        d_out = tuple(jnp.asarray(ct, jnp.float64) for ct in to_float64(comparison.cotangents["random"]))
        directions = tuple(jnp.asarray(rng.standard_normal(x.shape)) for x in values)
        for words, way in (("gradient of the gradient", _reverse), ("forward over reverse", _forward)):
            arguments = (values, d_out, directions)
            check = _compared(words, [way(g, call) for g in (f, oracle)], arguments, call, comparison, rng)
            if check is None and way is _forward:
                break
            if check is None or not check.ok or check.detail:
                return check
    return Check(clause_names.SECOND_ORDER, True)


def _reverse(g: Callable[..., Any], call: Call) -> Callable[..., Any]:
    def total(values: Sequence[Any], d_out: Sequence[Any], directions: Sequence[Any]) -> jax.Array:
        cotangents = pullback(g, call)(values, d_out).cotangents
        pairs = zip(directions, cotangents, strict=True)
        return sum((jnp.vdot(u, ct.astype(u.dtype)) for u, ct in pairs), jnp.zeros(()))

    def both(values: Sequence[Any], d_out: Sequence[Any], directions: Sequence[Any]) -> Any:
        of_values, of_cotangent = jax.grad(total, (0, 1))(values, d_out, directions)
        return (*of_values, *of_cotangent)

    return both


def _forward(g: Callable[..., Any], call: Call) -> Callable[..., Any]:
    def derivative(values: Sequence[Any], d_out: Sequence[Any], directions: Sequence[Any]) -> Any:
        return jax.jvp(lambda *leaves: pullback(g, call)(leaves, d_out).cotangents, values, directions)[1]

    return derivative


def _compared(
    words: str,
    both: Sequence[Callable[..., Any]],
    arguments: tuple[tuple[Any, ...], ...],
    call: Call,
    comparison: Comparison,
    rng: np.random.Generator,
) -> Check | None:
    try:
        run = _compiled(both, arguments, comparison)
    except Exception as error:
        try:
            _compiled(both[1:], arguments, comparison)
        except Exception:  # a loop of unknown length: JAX's limit, not the rule's
            return None
        return Check(
            clause_names.SECOND_ORDER,
            True,
            f"{words} not compared, JAX cannot take it through the rule: {in_one_line(error)}",
        )
    values, *rest = arguments
    found = ("", 0.0)
    for step in (0.0, *STEPS):
        point = tuple(x + step * (jnp.max(jnp.abs(x), initial=0) + 1e-3) * rng.uniform(-1, 1, x.shape) for x in values)
        rule, oracle = run(point, *rest)
        difference = _difference(rule, oracle, call, comparison)
        if difference is None:
            return Check(clause_names.SECOND_ORDER, True)
        found = difference
    if found[1] < ROUNDING and _is_noise(run, arguments, found[1], rng):
        return Check(
            clause_names.SECOND_ORDER, True, f"{words}: the two differ by {spoken(found[1])}, which is rounding"
        )
    return Check(
        clause_names.SECOND_ORDER, False, f"{words}: {found[0]} is off by {spoken(found[1])} of its largest element"
    )


def _is_noise(
    run: Callable[..., Any], arguments: tuple[tuple[Any, ...], ...], apart: float, rng: np.random.Generator
) -> bool:
    """Whether what the rule is off by is another number when all that it is given moves by a few times as little.

    A formula that is wrong stays as far from the right one; rounding, of a large number that cancels, does not.
    """

    def difference(given: Sequence[tuple[Any, ...]]) -> list[np.ndarray]:
        return [as_double(one) - as_double(other) for one, other in zip(*run(*given), strict=True)]

    here, step = difference(arguments), FURTHER * apart
    most = [np.zeros(one.shape) for one in here]
    for _ in range(DRAWS):
        moved = [tuple(x * (1 + step * rng.choice([-1.0, 1.0], x.shape)) for x in given) for given in arguments]
        moves = [np.abs(there - one) for there, one in zip(difference(moved), here, strict=True)]
        most = [np.maximum(one, other) for one, other in zip(most, moves, strict=True)]
    far = [np.abs(one) > largest(one) / MARGIN for one in here]
    shares = [
        np.mean(move[where] > np.abs(one[where]) / FURTHER)
        for move, one, where in zip(most, here, far, strict=True)
        if where.any()
    ]
    return bool(np.min(shares, initial=1.0) >= SHARE)


def _compiled(
    functions: Sequence[Callable[..., Any]], arguments: Sequence[Any], comparison: Comparison
) -> Callable[..., Any]:
    assert comparison.traced64 is not None
    leaves, d_out, *_ = traced = comparison.traced64
    carried = [carried_in_float64(g, (leaves, d_out, leaves), traced) for g in functions]
    return jax.jit(lambda *given: [g(*given) for g in carried]).lower(*arguments).compile(BARELY_OPTIMISED)


def _difference(rule: Any, oracle: Any, call: Call, comparison: Comparison) -> tuple[str, float] | None:
    loosest = max(leaf.bounds.formula for leaf in comparison.leaves)
    for i, (one, other) in enumerate(zip(map(as_double, rule), map(as_double, oracle), strict=True)):
        of_leaf = i < len(comparison.leaves)
        if of_leaf and comparison.leaves[i].is_noise:
            continue
        allowed_nan = nan_allowed(comparison, i) if of_leaf else np.zeros(one.shape, bool)
        judged = np.isfinite(other) & ~(np.isnan(one) & allowed_nan)
        distance = largest(np.where(judged, np.where(np.isfinite(one), one - other, np.inf), 0.0))
        if not np.isfinite(one[judged]).all():
            distance = float("inf")
        leaf = comparison.leaves[i if of_leaf else 0]
        first = leaf.gaps[0].scale * 1e-6  # a second derivative of 0 comes out as rounding of the first
        scale = max(largest(other), first)
        if distance > SLACK * max((leaf.bounds.formula if of_leaf else loosest) * scale, leaf.gaps[0].noise64):
            return f"d{name_of(call, i)}" if of_leaf else "by the cotangent, it", relative(distance, scale)
    return None
