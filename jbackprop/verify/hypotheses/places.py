"""Right numbers in wrong places, and sums over too many axes or too few."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from jbackprop.verify.hypotheses.leaf import Finding, Leaf, at_ones, equal, explains, first_name, multiple
from jbackprop.verify.hypotheses.words import axes_words, long_axes, number, subsets, times

MOST_AXES = 4  # 24 orders, 15 sets
SHIFTS = 4  # largest elements to look for


def transposed(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns g with its axes in another order, read in the shape of g where that differs."""
    if len(leaf.shape) > MOST_AXES:
        return
    for order in itertools.permutations(range(len(leaf.shape))):
        if list(order) == sorted(order):
            continue
        c = multiple(leaf, lambda name, order=order: leaf.oracle[name].transpose(order).reshape(leaf.shape))
        if c is None:
            continue
        moved = [axis for axis, source in enumerate(order) if axis != source]
        same = tuple(leaf.shape[axis] for axis in order) == leaf.shape
        words = f"right if transposed ({axes_words(moved)})" if same else "reshaped where it should be transposed"
        yield Finding("transposed", f"{words}{times(c)}", sure=c == 1)


def transposed_inside(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns J dy where J^T dy is right: then its product with any b is that of dy with the answer to b."""
    given = leaf.setting.cotangents
    if any(len(d_out) != 1 or d_out[0].shape != leaf.shape for d_out in given.values()):
        return
    names, differs = [name for name in leaf.manual if given[name][0].any()], False  # J and its transpose
    for a, b in itertools.product(names, repeat=2):
        products = [(leaf.manual[a], given[b][0]), (given[a][0], leaf.oracle[b])]
        found, wanted = (complex(np.sum(one * other)) for one, other in products)
        sizes = [float(np.linalg.norm(one.ravel()) * np.linalg.norm(other.ravel())) for one, other in products]
        if not abs(found - wanted) <= leaf.setting.tolerance * max(sizes):
            return
        differs |= abs(complex(np.sum(leaf.oracle[a] * given[b][0])) - wanted) > leaf.setting.tolerance * max(sizes)
    if len(names) > 1 and leaf.input.size > 1 and differs:
        yield Finding(
            "transposed", "the derivative along the cotangent, J dy and not J^T dy: inside, a transpose is missing"
        )


def flipped(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns g reversed along axes."""
    if len(leaf.shape) > MOST_AXES + 1:
        return
    for axes in subsets(long_axes(leaf.shape)):
        c = multiple(leaf, lambda name, axes=axes: np.flip(leaf.oracle[name], axes))
        if c is not None:
            turn = ": a rotation by 180 degrees is missing" if len(axes) == 2 else ""
            yield Finding("flipped", f"right if flipped along {axes_words(axes)}{turn}{times(c)}", sure=c == 1)


def permuted(leaf: Leaf) -> Iterator[Finding]:
    """The rule returns g rolled, shifted or in another order."""
    first = next(iter(leaf.manual))
    for shift in _shifts(leaf.manual[first], leaf.oracle[first]):
        axes = [axis for axis, by in enumerate(shift) if by]
        roll = tuple(shift)
        if axes and explains(leaf, lambda name, roll=roll: np.roll(leaf.oracle[name], roll, range(len(roll)))):
            by = " and ".join(str(shift[axis]) for axis in axes)
            yield Finding("permuted", f"the right numbers in wrong places: rolled by {by} along {axes_words(axes)}")
    for axis in long_axes(leaf.shape):
        for by in (1, -1, 2, -2):
            if leaf.shape[axis] > abs(by) + 1 and _shifted(leaf, axis, by):
                yield Finding("permuted", f"the right numbers in wrong places: shifted by {by} along axis {axis}")
    for axis in long_axes(leaf.shape):
        if explains_sorted(leaf, axis):
            yield Finding("permuted", f"the right numbers in wrong places, in another order along axis {axis}")
    if explains_sorted(leaf, None):
        yield Finding("permuted", "the right numbers in wrong places")


def _shifts(manual: np.ndarray, oracle: np.ndarray) -> Iterator[list[int]]:
    """The shifts that bring the largest element of `oracle` where `manual` has one as large."""
    if not oracle.size or not oracle.any() or oracle.ndim == 0:
        return
    peak = int(np.argmax(np.abs(oracle)))
    value = oracle.reshape(-1)[peak]
    there = np.flatnonzero(np.abs(manual.reshape(-1) - value) <= 1e-9 * abs(value))[:SHIFTS]
    start = np.unravel_index(peak, oracle.shape)
    for place in there:
        end = np.unravel_index(place, oracle.shape)
        yield [int((e - s + n // 2) % n - n // 2) for s, e, n in zip(start, end, oracle.shape, strict=True)]


def _shifted(leaf: Leaf, axis: int, by: int) -> bool:
    """Whether the rule is right up to a shift along `axis` that leaves the elements at the edge open."""
    n = leaf.shape[axis]
    into, out_of = (slice(by, n), slice(0, n - by)) if by > 0 else (slice(0, n + by), slice(-by, n))
    for name, manual in leaf.manual.items():
        index: list[Any] = [slice(None)] * manual.ndim
        index[axis] = into
        moved = manual[tuple(index)]
        index[axis] = out_of
        if not equal(leaf, name, moved, leaf.oracle[name][tuple(index)]):
            return False
    return bool(np.ptp(leaf.oracle[next(iter(leaf.oracle))]) > 0)


def explains_sorted(leaf: Leaf, axis: int | None) -> bool:
    """Whether sorting (along `axis`) makes the rule right; not so where it already is or nothing varies."""
    if any(np.iscomplexobj(oracle) for oracle in leaf.oracle.values()):
        return False
    return all(
        equal(leaf, name, np.sort(manual, axis=axis), np.sort(leaf.oracle[name], axis=axis))
        for name, manual in leaf.manual.items()
    )


def extra_sum(leaf: Leaf) -> Iterator[Finding]:
    """The rule does not vary along axes of g and returns its sum or mean over them."""
    first = next(iter(leaf.manual))
    manual = leaf.manual[first]
    constant = [
        axis
        for axis in long_axes(leaf.shape)
        if equal(leaf, first, manual, np.broadcast_to(manual.take([0], axis), leaf.shape))
    ]
    for axes in subsets(constant[:MOST_AXES]):
        c = multiple(leaf, lambda name, axes=axes: _summed(leaf.oracle[name], axes))
        if c is None:
            continue
        count = int(np.prod([leaf.shape[axis] for axis in axes]))
        where = "everything" if len(axes) == len(leaf.shape) else axes_words(axes)
        if abs(c * count - 1) < 1e-9:
            words = f"averaged over {where}, along which it should vary"
            ones = at_ones(leaf)
            same = ones is not None and np.ptp(ones, axes).max() <= 1e-6 * np.abs(ones).max()
            yield Finding("uniform cotangent" if same else "extra sum", words)
        yield Finding("extra sum", f"summed over {where} once too often{times(c)}", sure=c == 1)


def _summed(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(array.sum(axes, keepdims=True), array.shape)


def wrong_shape(leaf: Leaf) -> Finding | None:
    """The rule returns another shape, from which the right numbers can be had."""
    raw, oracle = leaf.setting.raw[leaf.name], leaf.oracle[first_name(leaf)]
    shapes = f"shape {raw.shape} instead of {leaf.shape}"

    def close(one: Any) -> bool:
        return one.size == oracle.size and equal(leaf, first_name(leaf), one.reshape(oracle.shape), oracle)

    for axes in subsets(long_axes(raw.shape)):
        again = "over axis 0 again" if axes == (0,) else f"over {axes_words(axes)}"
        if close(raw.sum(axes)):
            return Finding("missing sum", f"right if summed {again}: {shapes}")
        if close(raw.mean(axes)):
            return Finding("missing sum", f"right if averaged {again}: {shapes}")
    for axes in subsets(long_axes(leaf.shape)):
        for keep in (True, False):
            total = oracle.sum(axes, keepdims=keep)
            if total.size == raw.size and equal(leaf, first_name(leaf), raw.reshape(total.shape), np.asarray(total)):
                return Finding("extra sum", f"summed over {axes_words(axes)} once too often: {shapes}")
    for order in itertools.permutations(range(raw.ndim) if raw.ndim <= MOST_AXES else ()):
        if list(order) != sorted(order) and raw.transpose(order).shape == leaf.shape and close(raw.transpose(order)):
            return Finding("transposed", f"right if transposed: {shapes}")
    if close(raw):
        return Finding("structure", f"the right numbers in a wrong shape: {shapes}")
    return _scaled_sum(leaf, raw, oracle, shapes)


def _scaled_sum(leaf: Leaf, raw: np.ndarray, oracle: np.ndarray, shapes: str) -> Finding | None:
    for axes in subsets(long_axes(raw.shape)):
        total = raw.sum(axes)
        norm = np.vdot(oracle, oracle).real
        if total.size == oracle.size and oracle.size > 1 and norm > 0:
            c = float(np.vdot(oracle, total.reshape(oracle.shape)).real / norm)
            if equal(leaf, first_name(leaf), total.reshape(oracle.shape), c * oracle):
                return Finding(
                    "missing sum", f"{number(c)} x the right answer if summed over {axes_words(axes)}: {shapes}"
                )
    return None
