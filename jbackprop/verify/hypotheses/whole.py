"""Mistakes that leave the whole cotangent recognisable: a number too much, another argument's, the cotangent itself."""

import itertools
from collections.abc import Iterator

import numpy as np

from jbackprop.verify.distance import largest
from jbackprop.verify.hypotheses.leaf import (
    Candidate,
    Finding,
    Leaf,
    at_ones,
    differences,
    equal,
    explains,
    multiple,
    ratio,
)
from jbackprop.verify.hypotheses.words import axes_words, factor_words, long_axes, number, output_name, subsets, times

NEAR = 0.05  # to 1, a factor needs no name
SLIGHT = 1e-6  # a relative error below this may be hidden by the tolerance


def zero(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns nothing but zeros."""
    if all(not manual.any() for manual in leaf.manual.values()):
        yield Finding("zero", "zero for every cotangent: the derivative is missing")


def sign(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns -g, or the complex conjugate of g."""
    if explains(leaf, lambda name: -leaf.oracle[name]):
        yield Finding("sign", "-1 x the right answer: the sign is wrong")
    if any(np.iscomplexobj(oracle) for oracle in leaf.oracle.values()):
        if explains(leaf, lambda name: np.conj(leaf.oracle[name])):
            yield Finding("factor", "the right answer conjugated: a complex conjugate is missing or one too much")
        if explains(leaf, lambda name: -np.conj(leaf.oracle[name])):
            yield Finding("factor", "minus the right answer conjugated: a complex conjugate and a sign are wrong")


def factor(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns c g."""
    slight = _slight_factor(leaf)
    if slight is not None:
        yield Finding("factor", f"{number(slight)} x the right answer")
    c = multiple(leaf, lambda name: leaf.oracle[name])
    if c is None and leaf.input.size == 1:
        c = _single_factor(leaf)
    if c is None:
        return
    words = factor_words(leaf, c)
    sure = bool(words) or abs(c - 1) <= NEAR
    yield Finding("factor", f"{number(c)} x the right answer" + (f": {words}" if words else ""), sure=sure)


def _slight_factor(leaf: Leaf) -> float | None:
    """The constant c where it is so near 1 that g and c g differ by little more than the tolerance."""
    found = []
    for name, excess in differences(leaf).items():
        part = ratio(excess, leaf.oracle[name])
        if part is None or isinstance(part, complex) or not excess.any():
            continue
        if abs(part) > SLIGHT or largest(np.asarray(excess - part * leaf.oracle[name])) > 0.01 * largest(excess):
            return None
        found.append(part)
    return 1 + found[0] if len(found) > 1 and max(found) - min(found) <= 0.02 * abs(found[0]) else None


def _single_factor(leaf: Leaf) -> float | None:
    """The constant c where leaf and output are single numbers, which proves it only if it is a number with a name."""
    manual, oracle = (complex(next(iter(of.values())).reshape(())) for of in (leaf.manual, leaf.oracle))
    if oracle == 0 or not explains(leaf, lambda name: np.asarray(manual / oracle * leaf.oracle[name])):
        return None
    return (manual / oracle).real if abs((manual / oracle).imag) < 1e-12 else None


def swapped(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns another leaf's cotangent; a sure sign is that the other leaf has this one's, or a third's."""
    setting = leaf.setting
    for j, name in enumerate(setting.names):
        if j == leaf.i or setting.inputs[j].shape != leaf.shape:
            continue
        if explains(leaf, lambda cotangent, j=j: setting.oracle[cotangent][j]):
            back = _returns(leaf, j, leaf.i)
            taken = any(_returns(leaf, j, k) for k in range(len(setting.names)) if k != j)
            words = f"{leaf.name} and {name} look swapped" if back else f"the right answer for {name}, not {leaf.name}"
            yield Finding("swapped", words, sure=taken)


def _returns(leaf: Leaf, j: int, k: int) -> bool:
    """Whether leaf j was given the cotangent of leaf k."""
    setting = leaf.setting
    pairs = ((name, setting.manual[name][j], setting.oracle[name][k]) for name in leaf.manual)
    return all(equal(leaf, name, manual, oracle) for name, manual, oracle in pairs)


def ignored(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns the same whatever the cotangent."""
    first, *others = leaf.manual
    if not leaf.manual[first].any() or not all(
        equal(leaf, first, leaf.manual[first], leaf.manual[name]) for name in others if name != "zeros"
    ):
        return
    ones = at_ones(leaf)
    if ones is not None and equal(leaf, first, leaf.manual[first], ones):
        yield Finding("cotangent ignored", "the same for every cotangent: it is taken to be 1")
    yield Finding("cotangent ignored", "the same for every cotangent, which is not used")


def pass_through(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns the cotangent of an output, summed or repeated to fit."""
    for words, summed, candidate in output_cotangents(leaf):
        c = multiple(leaf, candidate)
        if c is None:
            continue
        bias = next((axes for _, axes, other in output_cotangents(leaf) if _is_oracle(leaf, other)), None)
        if bias is None:
            yield Finding("pass-through", f"{words}{times(c)}: the local derivative is forgotten", sure=c == 1)
        else:
            kind = "extra sum" if len(summed) > len(bias) else "missing sum"
            wanted = f"summed over {axes_words(bias)}" if bias else "as it is"
            yield Finding(kind, f"{words}{times(c)}; it should be {wanted}", sure=c == 1)


def _is_oracle(leaf: Leaf, candidate: Candidate) -> bool:
    return all((found := candidate(n)) is not None and equal(leaf, n, found, leaf.oracle[n]) for n in leaf.manual)


def output_cotangents(leaf: Leaf) -> Iterator[tuple[str, tuple[int, ...], Candidate]]:
    """Yields the outputs' cotangents in the shape of the leaf: what they are, the axes summed over, the arrays."""
    for k, y in enumerate(leaf.setting.outputs):
        for axes in [(), *subsets(long_axes(y.shape))]:
            rest = tuple(n for axis, n in enumerate(y.shape) if axis not in axes)
            for places in itertools.combinations(range(len(leaf.shape)), len(rest)):
                if all(n in (1, leaf.shape[place]) for n, place in zip(rest, places, strict=True)):
                    words = f"the cotangent of {output_name(leaf, k)} itself"
                    words += f", summed over {axes_words(axes)}" if axes else ""
                    yield words, axes, _fitted(leaf, k, axes, rest, places)


def _fitted(leaf: Leaf, k: int, axes: tuple[int, ...], rest: tuple[int, ...], places: tuple[int, ...]) -> Candidate:
    aligned = [1] * len(leaf.shape)
    for n, place in zip(rest, places, strict=True):
        aligned[place] = n

    def candidate(name: str) -> np.ndarray:
        d_out = leaf.setting.cotangents[name][k]
        return np.broadcast_to((d_out.sum(axes) if axes else d_out).reshape(aligned), leaf.shape)

    return candidate
