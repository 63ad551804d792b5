"""Kinks and ties: where a function has no derivative, any element of its subdifferential is right.

A rule that differs from the oracle at a point is held against the oracle's gradients around it, in float64:

1. At random points next to the given one, where there is no tie, both must agree in that argument.
2. One element after another is moved up and down. The oracle's gradient jumps there if it is at a kink, and the rule's
   must lie between the two sides.
3. All elements of one tie together are moved up and down: a rule may give everything to one winner or share it, but
   the shares must add up. This is the support function of the subdifferential, $h'(x; -v) <= <g, v> <= h'(x; v)$.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jbackprop.verify.around import Around, Arrays, both_ends, differences, surroundings
from jbackprop.verify.cotangents import KINKS
from jbackprop.verify.measure import Comparison

SAMPLES, PROBES, ORDERS = 12, 24, 32
MORE = 24  # samples, where the first leave more places open than are probed one by one
RANKS = 512  # among the others of its tie that an element is given
WIDEST = 16  # rounds in which a tie may grow
WORK = 2e7  # array elements that the probing may touch, which bounds its time
NEAR = 1e-2  # of a step, along many elements at once
AGREE = 1e-7  # of max|g|, between rule and oracle next to a kink
JUMP = 1 / 2  # of what the rule is off by: so far at least the oracle's gradient must jump


class Kinks(NamedTuple):
    """Where the gradients differ at a kink only, and for which leaves that explains all of it, in words.

    `bent` is where the right gradient is not unique, whether the rule is right there or not.
    """

    masks: tuple[np.ndarray, ...]
    forgiven: Mapping[int, str]
    bent: tuple[np.ndarray, ...]


def explain_by_kinks(comparison: Comparison, faulty: Sequence[int], seed: int) -> Kinks:
    """Returns which of the `faulty` leaves are right after all, because the function has a kink where they differ."""
    nothing = no_kinks(comparison.inputs)
    if any(np.iscomplexobj(x) for x in comparison.inputs):
        return nothing
    rng = np.random.default_rng([seed, KINKS])
    around, rule, oracle = surroundings(comparison)
    budget = int(np.clip(WORK / max(1, sum(x.size for x in oracle)), 4, PROBES))
    samples = [around.at([_off_every_tie(rng, x.shape) for x in around.leaves]) for _ in range(SAMPLES)]
    allowed = [max(AGREE, 10 * leaf.bounds.formula) for leaf in comparison.leaves]
    masks = [_differ(one, other, bound) for one, other, bound in zip(rule, oracle, allowed, strict=True)]
    wrong = {i for sample in samples for i in _apart(*sample, allowed)}
    sides = [found for _, found in samples]
    bent = tuple(_bends(np.array([there, *(side[i] for side in sides)])) for i, there in enumerate(oracle))
    if wrong.issuperset(faulty):
        return nothing._replace(bent=bent)
    around = around._replace(left_out=frozenset(wrong))
    rule, oracle = around.without(rule), around.without(oracle)
    masks = [np.asarray(mask & (i not in wrong)) for i, mask in enumerate(masks)]
    sides = [around.without(found) for found in sides]
    asked = sorted(set(faulty) - wrong)
    outside = _left_open(around, rule, oracle, sides, {i: masks[i] for i in asked}, budget, rng)
    forgiven = {}
    for i in asked:
        count = int(masks[i].sum())
        chosen = _most_suspicious(outside[i], masks[i], budget, rng)
        if count and all(_explained(around, rule, oracle, sides, i, place) for place in chosen):
            what = (
                "another subgradient"
                if np.isfinite(oracle[i]).all()
                else "finite where autodiff is not, or a subgradient"
            )
            forgiven[i] = f"{what} in {count} of {masks[i].size} places, at a kink or tie"
    known = all(np.isfinite(x).all() for x in oracle)
    if forgiven and known and not _shares_add_up(around, rule, sides, _whole(around, masks)):
        forgiven = {}  # a single share too many hides between many that are right
    if forgiven and not known and not _follows_values(around, rule, oracle, rng):
        forgiven = {}
    return Kinks(tuple(np.asarray(mask & bend) for mask, bend in zip(masks, bent, strict=True)), forgiven, bent)


def no_kinks(inputs: Sequence[Any]) -> Kinks:
    """Returns what is found where nothing is asked."""
    nowhere = tuple(np.zeros(np.shape(x), bool) for x in inputs)
    return Kinks(nowhere, {}, nowhere)


def _bends(gradients: np.ndarray) -> np.ndarray:
    """Returns where the oracle's gradients at and around the point are not nearly the same, as they are off a kink."""
    sizes = np.abs(np.where(np.isfinite(gradients), gradients, 0))
    allowed = np.maximum(0.1 * sizes.max(0, initial=0.0), 1e-5 * np.max(sizes, initial=0.0))
    with np.errstate(invalid="ignore"):
        return np.asarray(~(np.ptp(gradients, 0) <= allowed))


def _left_open(
    around: Around,
    rule: Arrays,
    oracle: Arrays,
    sides: list[Arrays],
    masks: Mapping[int, np.ndarray],
    budget: int,
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """Returns where the rule leaves what the oracle was seen to give, in the leaves of `masks`.

    Samples are added to `sides` while there are more such places than are probed one by one.
    """
    seen = {i: np.array([oracle[i], *(side[i] for side in sides)]) for i in masks}
    ends = {i: (np.fmin.reduce(found, 0), np.fmax.reduce(found, 0)) for i, found in seen.items()}
    for _ in range(MORE):
        if all((_outside(rule[i], *ends[i]) & mask).sum() <= budget for i, mask in masks.items()):
            break
        sides.append(around.without(around.at([_off_every_tie(rng, x.shape) for x in around.leaves])[1]))
        ends = {i: (np.fmin(low, sides[-1][i]), np.fmax(high, sides[-1][i])) for i, (low, high) in ends.items()}
    return {i: _outside(rule[i], *ends[i]) for i in masks}


def _outside(rule: np.ndarray, low: Any, high: Any) -> np.ndarray:
    slack = 1e-3 * (high - low)
    return np.asarray(~((rule >= low - slack) & (rule <= high + slack)))


def _most_suspicious(
    outside: np.ndarray, mask: np.ndarray, budget: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """Returns so many of the masked places, those `outside` first."""
    places = np.argwhere(mask)
    order = np.lexsort((rng.permutation(len(places)), ~outside[mask]))
    return [tuple(map(int, place)) for place in places[order[:budget]]]


def _explained(
    around: Around, rule: Arrays, oracle: Arrays, sides: list[Arrays], i: int, place: tuple[int, ...]
) -> bool:
    """Whether the rule's cotangent at one place of leaf `i` lies in the subdifferential, alone and with its tie."""
    up = _only(around.leaves, i, place)
    two = both_ends(around, up)
    found, theirs = rule[i][place], oracle[i][place]
    if np.isnan(around.leaves[i]).any() or not np.isfinite(found):
        return False
    around_here = np.array([side[i][place] for side in (*sides, *two)])
    if not np.isfinite(theirs):  # no derivative here: its limit where there is one, else any convention will do
        if not np.isfinite(around_here).all():
            return _is_slope(around, found, up, around.steps[i])
        return _between(found, around_here, 1e-2 * float(np.max(np.abs(oracle[i][np.isfinite(oracle[i])]), initial=1)))
    if _grows_nearby(around, up, i, place, two):
        return False
    tie = [_differ(one, other, 1e-3) for one, other in zip(*two, strict=True)]
    if not _jumps_so_far(found, theirs, around_here):
        rng = np.random.default_rng(place)
        orders = [[_off_every_tie(rng, x.shape) * x for x in tie] for _ in range(ORDERS)]
        around_here = np.append(around_here, [around.at(order)[1][i][place] for order in orders])
        if not _jumps_so_far(found, theirs, around_here):
            around_here = np.append(around_here, _in_every_rank(around, tie, i, place, rng))
        if not _jumps_so_far(found, theirs, around_here):
            return False
    return all(_shares_add_up(around, rule, [*sides, *two], together) for together in (tie, _whole(around, tie)))


def _in_every_rank(
    around: Around, tie: Arrays, i: int, place: tuple[int, ...], rng: np.random.Generator
) -> list[float]:
    """Returns the oracle's cotangent at a place that comes between any two others of its tie, as in a sort."""
    moves = [_off_every_tie(rng, x.shape) * x for x in tie]
    others = np.sort(np.concatenate([move[where] for move, where in zip(moves, tie, strict=True)]))
    if others.size < 2:
        return []
    between = np.concatenate([[others[0] - 0.1], (others[1:] + others[:-1]) / 2, [others[-1] + 0.1]])
    found = []
    for step in between[np.unique(np.linspace(0, len(between) - 1, RANKS).astype(int))]:
        moves[i][place] = step
        found.append(around.at(moves)[1][i][place])
    return found


def _grows_nearby(around: Around, up: Arrays, i: int, place: tuple[int, ...], ends: list[Arrays]) -> bool:
    """Whether the gradient has no bound next to the place: there the function jumps and has no subgradient."""
    nearer = both_ends(around, [np.asarray(x / 10) for x in up])
    far, near = (max(abs(end[i][place]) for end in two) for two in (ends, nearer))
    return bool(far > 0 and near > 5 * far)


def _whole(around: Around, tie: Arrays) -> Arrays:
    """Returns the tie with all that takes part in it: a winner that moves down leaves its place to one other alone."""
    for _ in range(WIDEST):
        ends = both_ends(around, [x.astype(np.float64) for x in tie])
        wider = [one | _differ(up, down, 1e-3) for one, up, down in zip(tie, *ends, strict=True)]
        if all(map(np.array_equal, tie, wider)):
            break
        tie = wider
    return tie


def _is_slope(around: Around, found: float, up: Arrays, step: float) -> bool:
    """Whether `found` is what the values themselves say, where they say anything: the same slope on both sides."""
    slopes = differences(around, up) / step
    if not np.isfinite(slopes).all() or abs(slopes[0] - slopes[1]) > 1e-2 * np.max(np.abs(slopes)):
        return True
    return _between(found, slopes, 2e-2 * float(np.max(np.abs(slopes))) + 1e-6)


def _follows_values(around: Around, rule: Arrays, oracle: Arrays, rng: np.random.Generator) -> bool:
    """Whether the rule is what the values say along directions through all places where autodiff is not finite.

    Where the values bend one way along all of them, the rule's slope lies between the two sides; where they do not
    bend, it is theirs. One direction is the rule's own, in which shares that are too large show most.
    """
    if around.comparison.run64 is None:
        return True
    undefined = [~np.isfinite(gradient) for gradient in oracle]
    own = [np.sign(np.nan_to_num(gradient)) for gradient in rule]
    seen = []
    for direction in (own, *([_off_every_tie(rng, x.shape) for x in own] for _ in range(2))):
        moves = [NEAR * move * where for move, where in zip(direction, undefined, strict=True)]
        ends, nearer = differences(around, moves), differences(around, [np.asarray(x / 10) for x in moves])
        if np.max(np.abs(nearer)) > np.max(np.abs(ends)) / 2:
            return True  # the function jumps, and no slope is its derivative
        shares = [
            np.where(where, step * move * gradient, 0.0)
            for step, move, gradient, where in zip(around.steps, moves, rule, undefined, strict=True)
        ]
        along = float(sum(map(np.sum, shares)))
        size = float(np.sqrt(sum(np.sum(share**2) for share in shares)))
        if np.isfinite([*ends, along]).all():
            seen.append((along, ends, 1e-3 * max(size, float(np.max(np.abs(ends))))))
    bends = [np.sign(ends[0] - ends[1]) for _, ends, slack in seen if abs(ends[0] - ends[1]) > slack]
    if len(set(bends)) > 1:
        return True  # neither convex nor concave: its sides are no bounds
    return all(_between(along, ends, slack) for along, ends, slack in seen)


def _jumps_so_far(found: float, theirs: float, around_here: np.ndarray) -> bool:
    finite = np.append(around_here[np.isfinite(around_here)], theirs)
    jump = float(finite.max() - finite.min())
    return jump >= JUMP * float(abs(found - theirs)) and _between(found, finite, 1e-3 * jump)


def _shares_add_up(around: Around, rule: Arrays, seen: list[Arrays], tie: Arrays) -> bool:
    ends = both_ends(around, _upwards(around, tie))
    weights = [step * x.astype(np.float64) for step, x in zip(around.steps, tie, strict=True)]

    def along(gradient: Arrays) -> float:
        return float(sum(np.sum(np.where(w > 0, g * w, 0.0)) for g, w in zip(gradient, weights, strict=True)))

    bounds, others = (np.array([along(gradient) for gradient in gradients]) for gradients in (ends, seen))
    if not np.isfinite([*bounds, *others]).all():
        return True
    slack = 1e-5 * float(np.max(np.abs([*bounds, *others]), initial=0.0))
    if others.min() < bounds.min() - slack or others.max() > bounds.max() + slack:
        return True  # neither convex nor concave along the tie, so its ends are no bounds
    return _between(along(rule), bounds, slack)


def _upwards(around: Around, tie: Arrays) -> Arrays:
    """Returns the moves of a tie's elements under which each gradient grows, or keeps: clip(x, 0, 1) bends up at 0 and
    down at 1, and moved the same way the two would bound nothing.
    """
    moves = [x.astype(np.float64) for x in tie]
    up, down = both_ends(around, moves)
    falls = [_differ(one, other, 1e-3) & (one < other) for one, other in zip(up, down, strict=True)]
    return [np.where(fall, -move, move) for fall, move in zip(falls, moves, strict=True)]


def _only(leaves: Arrays, i: int, place: tuple[int, ...]) -> Arrays:
    moves = [np.zeros(x.shape) for x in leaves]
    moves[i][place] = 1.0
    return moves


def _off_every_tie(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(rng.uniform(0.1, 1.0, shape) * rng.choice([-1.0, 1.0], shape))


def _between(value: float, ends: np.ndarray, slack: float) -> bool:
    return bool(ends.min() - slack <= value <= ends.max() + slack)


def _differ(one: np.ndarray, other: np.ndarray, tolerance: float) -> np.ndarray:
    finite = np.isfinite(one) & np.isfinite(other)
    scale = float(np.max(np.abs(np.where(finite, other, 0)), initial=0.0))
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other) > tolerance * scale
    return np.asarray(np.where(finite, apart, ~((one == other) | (np.isnan(one) & np.isnan(other)))))


def _apart(rule: Arrays, oracle: Arrays, allowed: list[float]) -> list[int]:
    """Returns the leaves in which the two differ next to the point, where the oracle has a derivative."""
    triples = enumerate(zip(rule, oracle, allowed, strict=True))
    return [i for i, (one, other, bound) in triples if (_differ(one, other, bound) & np.isfinite(other)).any()]
