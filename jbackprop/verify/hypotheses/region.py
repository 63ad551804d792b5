"""Mistakes in a part of the places: at kinks and ties, in the last row, at an edge, where x < 0, or one by one."""

from collections.abc import Iterator

import numpy as np

from jbackprop.verify.hypotheses.leaf import Finding, Leaf, explains, first_name, ratio, wrong_places
from jbackprop.verify.hypotheses.parts import and_the_part
from jbackprop.verify.hypotheses.places import transposed_inside
from jbackprop.verify.hypotheses.region_words import box_of, box_words, region_words
from jbackprop.verify.hypotheses.words import listed, long_axes, number

RIGHT = 0.005  # of the places must be right: those few where x is near 0 are so by accident


def not_finite(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns NaN or infinity where the oracle is finite."""
    bad, which = np.zeros(leaf.shape, bool), []
    for name, found in leaf.setting.manual.items():
        here = ~np.isfinite(found[leaf.i]) & np.isfinite(leaf.setting.oracle[name][leaf.i])
        if here.any():
            bad = np.asarray(bad | here)
            which.append(name)
    if which:
        of = f"{int(bad.sum())} of {bad.size} places"
        where = f", all {words}" if (words := region_words(leaf, bad, np.asarray(~bad))) else ""
        usual = {"random", "ones"} & set(which)
        only = "" if usual else f" for the {listed(which)} cotangent{'s' * (len(which) > 1)}"
        yield Finding("nan", f"not finite in {of}{where}{only}, where the right answer is")


def ties(leaf: Leaf) -> Iterator[Finding]:
    """Wrong only where the function has a kink or a tie."""
    wrong, shown = wrong_places(leaf)
    kinked = leaf.setting.kinked[leaf.i] if leaf.i < len(leaf.setting.kinked) else np.zeros(leaf.shape, bool)
    if kinked.shape == leaf.shape and wrong.any() and not (wrong & ~kinked).any():
        of = f"{int(wrong.sum())} of {int(kinked.sum())} places with a kink or a tie"
        sure = bool((shown & ~kinked).any())
        yield Finding("ties", f"wrong only at kinks or ties: in {of}{_what_is_there(leaf, wrong)}", sure=sure)


def part(leaf: Leaf) -> Iterator[Finding]:
    """Wrong in a region that has a name."""
    wrong, shown = wrong_places(leaf)
    if not wrong.any() or shown.sum() < RIGHT * wrong.size or any(transposed_inside(leaf)):
        return
    of = f"{int(wrong.sum())} of {wrong.size} places"
    words, but = region_words(leaf, wrong, shown), _right_words(wrong, shown)
    what = _what_is_there(leaf, wrong) or (and_the_part(leaf) if words or but else "")
    if but and wrong.mean() > 0.5 and ("in the first" in but or "in the last" in but):
        yield Finding("part", f"right {but} only: wrong in {of}{what}")
    if words:
        yield Finding("part", f"wrong in {of}, all {words}{what}")
    if but:
        yield Finding("part", f"right {but} only: wrong in {of}{what}", sure=False)
    for axis in long_axes(leaf.shape):
        if wrong.ndim > 1 and bool((wrong.sum(axis) == 1).all()) and shown.sum() >= wrong.sum():
            yield Finding("part", f"wrong in {of}, one along each line of axis {axis}{what}", sure=False)
    if wrong.sum() <= 0.25 * wrong.size and (shown.sum() > 1):
        yield Finding("part", f"wrong in {of}{what}", sure=False)


def _term_of_the_cotangent(leaf: Leaf, wrong: np.ndarray) -> bool:
    """Whether the differences there are a multiple of an output's cotangent: a one-hot term, not a region."""
    for k, y in enumerate(leaf.setting.outputs):
        if y.ndim < wrong.ndim and y.shape == wrong.shape[: y.ndim] and wrong.any():
            d_out = leaf.setting.cotangents[first_name(leaf)][k].reshape(y.shape + (1,) * (wrong.ndim - y.ndim))
            excess = (leaf.manual[first_name(leaf)] - leaf.oracle[first_name(leaf)])[wrong]
            term = np.broadcast_to(d_out, wrong.shape)[wrong]
            c = ratio(excess, term)
            return c is not None and bool(np.abs(excess - c * term).max() <= leaf.allowed[first_name(leaf)])
    return False


def _right_words(wrong: np.ndarray, shown: np.ndarray) -> str | None:
    """Words for the region in which alone the rule is right."""
    if shown.sum() > 1 and not (wrong & box_of(shown)).any():
        return box_words(shown)
    return None


def one_hot_term(leaf: Leaf) -> Iterator[Finding]:
    """In one place of each row a multiple of the cotangent is missing, as of `p - one_hot(labels)`."""
    wrong, _ = wrong_places(leaf)
    lines = [axis for axis in long_axes(leaf.shape) if bool((wrong.sum(axis) == 1).all())]
    if leaf.input.ndim and lines and _term_of_the_cotangent(leaf, wrong):
        yield Finding(
            "missing term", f"in one place along axis {lines[-1]} a term is missing: the cotangent, as one-hot"
        )


def _what_is_there(leaf: Leaf, wrong: np.ndarray) -> str:
    if all(not manual[wrong].any() for manual in leaf.manual.values()):
        return ": zero there"
    c = ratio(leaf.manual[first_name(leaf)][wrong], leaf.oracle[first_name(leaf)][wrong])
    if c is not None and explains(leaf, lambda name: np.where(wrong, c * leaf.oracle[name], leaf.oracle[name])):
        return f": {number(c)} x the right answer there"
    return ""
