"""Two programs that compute the same, ours and the other one, measured against each other: one row of the benchmark."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.bench.interval import interval, verdict
from jbackprop.bench.machine import Limits
from jbackprop.bench.measure import rounds
from jbackprop.bench.programs import Passes, Program, passes, program

# Of the largest element, and beyond rounding: programs further apart do not compute the same.
AGREEMENT = {"float64": 1e-9, "float32": 2e-3, "bfloat16": 0.1, "float16": 0.05}
SHARES = {"both": 0.5, "forward": 0.25, "backward": 0.25}  # of the time for a row
LARGE_RATE = 1e3

Row = dict[str, Any]


@dataclass(frozen=True)
class Contest:
    """A rule at one size against its reference under autodiff, or a whole training step against another.

    `products` are the multiply-adds of the rule's formula, or of the step. A step is
    `(params, x, y, rate) -> (loss, params)`; `as_ours` and `as_reference` turn the parameters of `arguments()` into
    those of each side. Both can be compared once each went through the other's, too: twice is as once.
    """

    name: str
    label: str
    against: str
    ours: Callable[..., Any]
    reference: Callable[..., Any]
    arguments: Callable[[], tuple[Any, ...]]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    products: int | None = None
    is_step: bool = False
    as_ours: Callable[[Any], Any] = lambda params: params
    as_reference: Callable[[Any], Any] = lambda params: params


def measure(contest: Contest, dtype: str, seconds: float, limits: Limits) -> Row:
    """Returns the row: times and ratios with their intervals, memory, residuals, FLOPs and bytes, share of the limit.

    `seconds` are spent on timing; compilation comes on top.
    """
    if contest.is_step:
        return _measure_step(contest, dtype, seconds, limits)
    args = contest.arguments()
    sides = passes(contest.ours, args, dict(contest.kwargs)), passes(contest.reference, args, dict(contest.kwargs))
    ours, reference = sides[0].both, sides[1].both
    row = _row(contest, dtype, ours, reference, largest_difference(ours.call(), reference.call()))
    row["passes"] = {
        name: _timed(getattr(sides[0], name), getattr(sides[1], name), share * seconds)
        for name, share in SHARES.items()
    }
    row["residual_bytes"] = _of_sides([side.residual_bytes for side in sides])
    products = None if contest.products is None else 3 * contest.products  # dx and dw cost a forward pass each
    return row | _limited(row, products, sides[0], limits)


def _measure_step(contest: Contest, dtype: str, seconds: float, limits: Limits) -> Row:
    params, x, y, rate = contest.arguments()
    ours = program(contest.ours, contest.as_ours(params), x, y, rate)
    reference = program(contest.reference, contest.as_reference(params), x, y, rate)
    far = jnp.asarray(LARGE_RATE, rate.dtype)  # so that the gradients show in the new parameters, not the old ones
    (loss, new), (wanted, new_wanted) = (side.compiled(*side.arguments[:-1], far) for side in (ours, reference))
    difference = largest_difference((loss, contest.as_reference(new)), (wanted, contest.as_ours(new_wanted)))
    row = _row(contest, dtype, ours, reference, difference)
    row["passes"] = {"step": _timed(ours, reference, seconds)}
    return row | _limited(row, contest.products, None, limits)


def _row(contest: Contest, dtype: str, ours: Program, reference: Program, difference: float) -> Row:
    sides = ours, reference
    return {
        "name": contest.name,
        "label": contest.label,
        "dtype": dtype,
        "against": contest.against,
        "difference": difference,
        "agree": bool(difference <= AGREEMENT[dtype]),
        "compile_seconds": _of_sides([side.compile_seconds for side in sides]),
        "temporary_bytes": _of_sides([side.temporary_bytes for side in sides]),
        "flops": _of_sides([side.cost("flops") for side in sides]),
        "bytes": _of_sides([side.cost("bytes accessed") for side in sides]),
    }


def _timed(ours: Program, reference: Program, seconds: float) -> Row:
    taken = rounds([ours.call, reference.call], seconds)
    found = interval(taken[:, 0] / taken[:, 1])
    medians = np.median(taken, axis=0)
    return {
        "milliseconds": _of_sides([1e3 * float(median) for median in medians]),
        "ratio": found._asdict(),
        "verdict": verdict(found),
        "pairs": len(taken),
    }


def _limited(row: Row, products: int | None, side: Passes | None, limits: Limits) -> Row:
    """What the formula needs, and how near to the machine's limit each side comes with it.

    Where the formula has no products the limit of a rule is the traffic alone: a comparison is no multiply-add.
    """
    counted = 0.0 if side else row["flops"]["reference"] or 0.0
    flops = counted if products is None else 2.0 * products
    traffic = float(side.least_bytes) if side else 0.0
    timed = row["passes"]["both" if side else "step"]["milliseconds"]
    shares = [1e3 * limits.seconds(flops, traffic) / timed[name] for name in ("ours", "reference")]
    return {
        "formula": {"flops": None if products is None else flops, "bytes": traffic or None},
        "limit": limits.binding(flops, traffic),
        "share_of_limit": _of_sides(shares),
    }


def largest_difference(ours: Any, reference: Any) -> float:
    """Returns the largest |a - b| / max|b| over the floating leaves; infinite where shapes or NaNs differ.

    >>> largest_difference([jnp.array([1.0, 2.0])], [jnp.array([1.0, 4.0])])
    0.5
    """
    ours, reference = jax.tree.leaves(ours), jax.tree.leaves(reference)
    if len(ours) != len(reference):
        return float("inf")
    return max((_difference(a, b) for a, b in zip(ours, reference, strict=True)), default=0.0)


def _difference(a: Any, b: Any) -> float:
    if jnp.shape(a) != jnp.shape(b):
        return float("inf")
    wide = np.complex128 if jnp.issubdtype(jnp.asarray(b).dtype, jnp.complexfloating) else np.float64
    x, y = np.asarray(a).astype(wide), np.asarray(b).astype(wide)
    if not x.size:
        return 0.0
    if not np.array_equal(np.isfinite(x), np.isfinite(y)):
        return float("inf")
    finite = np.isfinite(y)
    apart, scale = np.abs(x - y)[finite], np.abs(y)[finite]
    return float(apart.max(initial=0.0) / (scale.max(initial=0.0) or 1.0))


def _of_sides(values: list[Any]) -> Row:
    return {"ours": values[0], "reference": values[1]}
