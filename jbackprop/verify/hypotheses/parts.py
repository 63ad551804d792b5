"""A part of the gradient that the rule has not, has twice, or with the wrong sign: what one operation lets through."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from jbackprop.verify.distance import largest
from jbackprop.verify.hypotheses.leaf import (
    Finding,
    Leaf,
    Parts,
    differences,
    equal,
    explains,
    first_name,
    multiple,
    ratio,
)

CLEARLY = 100  # times the tolerance a part is larger than noise
MOST_IN_PAIRS = 16  # parts, so 120 pairs
AMOUNTS = {
    -1.0: ("missing term", "is missing"),
    -2.0: ("sign", "has the wrong sign"),
    1.0: ("factor", "is there twice"),
}


def part_of_the_answer(leaf: Leaf) -> Iterator[Finding]:
    """The difference is a multiple of what flows through one operand of an operation of the primal, or through two."""
    parts, name = leaf.setting.parts(), first_name(leaf)
    if parts is None or leaf.input.size < 2:
        return
    whole = _without(leaf, parts, (), name)
    if whole is None or not equal(leaf, name, whole, leaf.oracle[name]):
        return
    rests: dict[int, np.ndarray] = {}
    for which in range(len(parts.words)):
        rest = _without(leaf, parts, (which,), name)
        if rest is None:
            return
        if min(largest(whole - rest), largest(rest)) > CLEARLY * leaf.allowed[name]:
            rests[which] = rest
    yield from _one_part(leaf, parts, {which: whole - rest for which, rest in rests.items()})
    yield from _two_parts(leaf, parts, rests)


def and_the_part(leaf: Leaf) -> str:
    """Returns what to add to the words for where or what a mistake is, nothing where no part explains it."""
    finding = next(part_of_the_answer(leaf), None)
    return f": {finding.sentence}" if finding else ""


def _one_part(leaf: Leaf, parts: Parts, found: dict[int, np.ndarray]) -> Iterator[Finding]:
    excess = differences(leaf)
    for which, part in found.items():
        if not _along(part, excess[first_name(leaf)]):
            continue

        def part_for(cotangent: str, which: int = which) -> np.ndarray | None:
            rest = _without(leaf, parts, (which,), cotangent)
            return None if rest is None else leaf.oracle[cotangent] - rest

        c = multiple(leaf, part_for, excess)
        if c is not None:
            yield _finding(parts.words[which], c)


def _two_parts(leaf: Leaf, parts: Parts, found: dict[int, np.ndarray]) -> Iterator[Finding]:
    """Of parts that are the same, such as those of two operations in a row, the first speaks for all."""
    apart: dict[int, np.ndarray] = {}
    for which, rest in found.items():
        if not any(equal(leaf, first_name(leaf), rest, other) for other in apart.values()):
            apart[which] = rest
    for pair in combinations(list(apart)[:MOST_IN_PAIRS], 2):
        if explains(leaf, lambda name, pair=pair: _without(leaf, parts, pair, name)):
            one, other = (parts.words[which] for which in pair)
            yield Finding("missing term", f"{one} and {other} are missing")


def _without(leaf: Leaf, parts: Parts, which: tuple[int, ...], name: str) -> np.ndarray | None:
    if next(leaf.runs, None) is None:
        return None
    found = np.asarray(parts.without(which, leaf.setting.cotangents[name])[leaf.i])
    return np.where(np.isfinite(found) & ~leaf.setting.unknown[leaf.i], found, 0)


def _along(part: np.ndarray, excess: np.ndarray) -> bool:
    """Whether one is roughly a multiple of the other, which a single cotangent tells."""
    c = ratio(excess, part)
    return c is not None and largest(excess - c * part) <= 1e-3 * largest(excess)


def _finding(words: str, c: Any) -> Finding:
    for amount, (kind, verb) in AMOUNTS.items():
        if abs(c - amount) <= 1e-6:
            return Finding(kind, f"{words} {verb}")
    return Finding("factor", f"{words} is multiplied by {1 + c:.4g}")
