"""What a hypothesis looks at: one leaf, the rule's cotangents of it and the oracle's, and the oracle elsewhere."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jbackprop.verify.distance import largest

Arrays = tuple[np.ndarray, ...]
Named = Mapping[str, np.ndarray]
Candidate = Callable[[str], np.ndarray | None]

FLOOR = 0.1  # where a cotangent cancels, its gradient counts as this fraction of what its size may give
SMALL = 1e-3  # arrays smaller than this fraction of the scale are noise
LARGE = 10_000  # elements; larger arrays are compared at some places first
RUNS = ((10_000, 1500), (100_000, 250), (1_000_000, 60))  # elements, and how often the oracle may be run for them
FEWEST_RUNS = 30


class Parts(NamedTuple):
    """The parts of the right answers in words, and the answers without up to two of them, for a cotangent."""

    words: tuple[str, ...]
    without: Callable[[Sequence[int], Sequence[np.ndarray]], Sequence[np.ndarray]]


class Setting(NamedTuple):
    """The answers of a rule and of its oracle, in float64 (complex: complex128), and the oracle to ask further."""

    names: tuple[str, ...]  # of the differentiated leaves
    inputs: Arrays
    outputs: Arrays  # the float outputs of the primal
    cotangents: Mapping[str, Arrays]  # by name, one per output
    manual: Mapping[str, Arrays]  # the rule's cotangents of the inputs, per named cotangent
    oracle: Mapping[str, Arrays]  # the right ones
    pull: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Sequence[np.ndarray]]  # at inputs, for cotangents
    tolerance: float  # equality within this fraction of max|g| is equality
    kinked: Arrays  # per leaf: where the rule is wrong at a kink or a tie alone
    unknown: Arrays  # per leaf: where the right answer is not unique, and the rule counts as right
    raw: Mapping[str, np.ndarray]  # what `bwd` returned for a leaf where its shape is wrong, for the random cotangent
    fixed: Mapping[str, np.ndarray] = {}  # the arrays that are not differentiated, such as labels and masks, by name
    parts: Callable[[], Parts | None] = lambda: None  # of the right answer


class Finding(NamedTuple):
    """A hypothesis that explains every cotangent; one that is not `sure` is believed where no other explains."""

    kind: str
    sentence: str
    sure: bool = True


@dataclass(frozen=True, eq=False)
class Leaf:
    """One leaf of a `Setting`; elements that are not finite in the oracle, or unknown, count as right."""

    setting: Setting
    i: int
    manual: Named
    oracle: Named
    allowed: Mapping[str, float]  # the distance within which two of its arrays are equal, by cotangent
    runs: Iterator[int]  # one for each time that the oracle may still be run

    @property
    def name(self) -> str:
        return self.setting.names[self.i]

    @property
    def input(self) -> np.ndarray:
        return self.setting.inputs[self.i]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.input.shape


def leaf_of(setting: Setting, i: int) -> Leaf:
    """Returns leaf `i`, its cotangents ordered: the random ones first, since they refute most."""
    first = [name for name in ("random", "another random", "one row", "a single one", "ones") if name in setting.manual]
    names = first + [name for name in setting.manual if name not in first]
    manual, oracle, allowed = {}, {}, {}
    sizes = {name: max((largest(d_out) for d_out in setting.cotangents[name]), default=0.0) for name in names}
    for name in names:
        m, o = setting.manual[name][i], setting.oracle[name][i]
        finite = np.asarray(np.isfinite(o) & ~setting.unknown[i])
        manual[name], oracle[name] = np.asarray(np.where(finite, m, 0)), np.asarray(np.where(finite, o, 0))
        gain = largest(oracle[names[0]]) / sizes[names[0]] if sizes[names[0]] > 0 else 0.0
        scale = max(largest(oracle[name]), largest(manual[name]), FLOOR * gain * sizes[name])
        allowed[name] = setting.tolerance * scale
    elements = sum(x.size for x in (*setting.inputs, *setting.outputs))
    runs = next((runs for most, runs in RUNS if elements <= most), FEWEST_RUNS)
    return Leaf(setting, i, manual, oracle, allowed, iter(range(runs)))


def first_name(leaf: Leaf) -> str:
    """Returns the name of the cotangent that is tried first: a random one, unless the caller chose others."""
    return next(iter(leaf.manual))


def equal(leaf: Leaf, name: str, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are the same for the leaf's tolerance at this cotangent."""
    if one.shape != other.shape:
        return False
    if one.size > LARGE and np.max(np.abs(_some(one) - _some(other)), initial=0.0) > leaf.allowed[name]:
        return False
    # Two answers that are both far too small (clipped, for a huge cotangent) are not the same for that.
    largest_of_both = max(np.max(np.abs(one), initial=0.0), np.max(np.abs(other), initial=0.0))
    allowed = min(leaf.allowed[name], max(leaf.setting.tolerance * largest_of_both, SMALL * leaf.allowed[name]))
    return bool(np.max(np.abs(one - other), initial=0.0) <= allowed)


def _some(array: np.ndarray) -> np.ndarray:
    """Every k-th element along every axis, about LARGE of them: enough to see that two arrays differ."""
    step = max(1, math.ceil((array.size / LARGE) ** (1 / array.ndim)))
    return array[(slice(None, None, step),) * array.ndim]


def right(leaf: Leaf, name: str) -> bool:
    """Whether the rule is right for this cotangent."""
    return equal(leaf, name, leaf.manual[name], leaf.oracle[name])


def explains(leaf: Leaf, candidate: Candidate) -> bool:
    """Whether the rule returns `candidate(name)` for every cotangent."""
    for name, manual in leaf.manual.items():
        found = candidate(name)
        if found is None or not equal(leaf, name, manual, _known(leaf, np.asarray(found))):
            return False
    return True


def _known(leaf: Leaf, candidate: np.ndarray) -> np.ndarray:
    unknown = leaf.setting.unknown[leaf.i]
    return np.where(unknown, 0, candidate) if unknown.shape == candidate.shape and unknown.any() else candidate


def multiple(leaf: Leaf, candidate: Candidate, target: Named | None = None) -> Any:
    """Returns the constant c with `target = c candidate` for every cotangent (1.0 where equal), or None.

    The target is what the rule returns, or the given arrays. A single number is a multiple of any other: no evidence.
    """
    c: Any = None
    for name, wanted in (leaf.manual if target is None else target).items():
        given = candidate(name)
        if given is None or given.shape != wanted.shape:
            return None
        found = _known(leaf, np.asarray(given))  # NumPy makes a number of an array without axes
        if c is None:
            c = 1.0 if equal(leaf, name, wanted, found) else _ratio(leaf, wanted, found)
            if c is None:
                return None
        if not equal(leaf, name, wanted, np.asarray(c * found)):
            return None
    return c


def ratio(numerator: Any, denominator: Any) -> Any:
    """Returns the best c in `numerator = c denominator`, or None where the denominator is zero."""
    norm = float(np.vdot(denominator, denominator).real)
    if norm == 0 or not np.isfinite(norm):
        return None
    c = complex(np.vdot(denominator, numerator)) / norm
    return c.real if abs(c.imag) <= 1e-9 * abs(c) else c


def _ratio(leaf: Leaf, wanted: np.ndarray, found: np.ndarray) -> Any:
    if wanted.size == 1 and sum(y.size for y in leaf.setting.outputs) == 1:
        return None
    if wanted.size > LARGE:
        some, of = _some(wanted), _some(found)
        c = ratio(some, of)
        if c is not None and np.max(np.abs(some - c * of)) > 1e-3 * np.max(np.abs(some)):
            return None
    c = ratio(wanted, found)
    return c if c is not None and abs(c) > leaf.setting.tolerance else None


def pull(leaf: Leaf, inputs: Sequence[Any] | None, cotangents: Sequence[Any]) -> np.ndarray | None:
    """Returns the oracle's cotangent of the leaf at other inputs or cotangents; None outside the domain or budget."""
    if next(leaf.runs, None) is None:
        return None
    try:
        found = np.asarray(leaf.setting.pull(leaf.setting.inputs if inputs is None else inputs, cotangents)[leaf.i])
    except Exception:  # whatever the user's function makes of an input outside its domain
        return None
    return found if bool(np.isfinite(found).all()) else None


def pulled(leaf: Leaf, change: Callable[[np.ndarray], np.ndarray | None]) -> Candidate:
    """Returns the candidate: the oracle's answer where every cotangent is changed."""

    def candidate(name: str) -> np.ndarray | None:
        changed = [change(d_out) for d_out in leaf.setting.cotangents[name]]
        if any(new is None for new in changed):
            return None
        return pull(leaf, None, [np.asarray(new) for new in changed])

    return candidate


def at_ones(leaf: Leaf) -> np.ndarray | None:
    """Returns the oracle's answer to cotangents of ones."""
    if "ones" in leaf.oracle:
        return leaf.oracle["ones"]
    return pull(leaf, None, [np.ones_like(y) for y in leaf.setting.outputs])


def wrong_places(leaf: Leaf) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the rule is wrong for some cotangent, and where it is right and the gradient is not zero."""
    wrong, shown = np.zeros(leaf.shape, bool), np.zeros(leaf.shape, bool)
    for name, manual in leaf.manual.items():
        wrong |= np.abs(manual - leaf.oracle[name]) > leaf.allowed[name]
        shown |= np.abs(leaf.oracle[name]) > 10 * leaf.allowed[name]
    return np.asarray(wrong), np.asarray(shown & ~wrong)


def differences(leaf: Leaf) -> dict[str, np.ndarray]:
    """Returns what the rule has too much, by cotangent."""
    return {name: np.asarray(manual - leaf.oracle[name]) for name, manual in leaf.manual.items()}
