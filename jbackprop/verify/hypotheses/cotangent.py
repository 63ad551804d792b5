"""Mistakes in the use of the cotangent: a part of it, its mean, something that is not linear in it, or none of it."""

from collections.abc import Callable, Iterator

import numpy as np

from jbackprop.verify.distance import largest
from jbackprop.verify.hypotheses.leaf import (
    Finding,
    Leaf,
    differences,
    equal,
    explains,
    first_name,
    multiple,
    pull,
    pulled,
    right,
)
from jbackprop.verify.hypotheses.words import axes_words, factor_words, long_axes, number, output_name, subsets, times

FULL_SUBSETS = 4  # axes


def one_output(leaf: Leaf) -> Iterator[Finding]:
    """The cotangent of one of several outputs is ignored, or those of two are swapped."""
    setting = leaf.setting
    if len(setting.outputs) < 2:
        return

    def with_outputs(change: Callable[[list[np.ndarray]], None]) -> Callable[[str], np.ndarray | None]:
        def candidate(name: str) -> np.ndarray | None:
            d_outs = list(setting.cotangents[name])
            change(d_outs)
            return pull(leaf, None, d_outs)

        return candidate

    for k in range(len(setting.outputs)):

        def drop(d_outs: list[np.ndarray], k: int = k) -> None:
            d_outs[k] = np.zeros_like(d_outs[k])

        if explains(leaf, with_outputs(drop)):
            yield Finding("cotangent ignored", f"the cotangent of output {k} is ignored")

        def keep(d_outs: list[np.ndarray], k: int = k) -> None:
            d_outs[:] = [d_out if j == k else np.zeros_like(d_out) for j, d_out in enumerate(d_outs)]

        c = multiple(leaf, with_outputs(keep), differences(leaf))
        if c is not None and abs(c + 2) <= 1e-6:
            yield Finding("sign", f"what comes from output {k} has the wrong sign")
        elif c is not None:
            yield Finding("factor", f"what comes from output {k} is multiplied by {number(1 + c)}")

        def ones(d_outs: list[np.ndarray], k: int = k) -> None:
            d_outs[k] = np.ones_like(d_outs[k])

        if explains(leaf, with_outputs(ones)):
            yield Finding("cotangent ignored", f"the cotangent of output {k} is taken to be 1")
        for m in range(k):
            if setting.outputs[m].shape == setting.outputs[k].shape:

                def swap(d_outs: list[np.ndarray], k: int = k, m: int = m) -> None:
                    d_outs[k], d_outs[m] = d_outs[m], d_outs[k]

                if explains(leaf, with_outputs(swap)):
                    yield Finding("swapped", f"the cotangents of output {m} and output {k} look swapped")


def uniform(leaf: Leaf) -> Iterator[Finding]:
    """The cotangent's mean, sum or first element is used instead of the cotangent."""
    axes_of = [long_axes(y.shape)[:FULL_SUBSETS] for y in leaf.setting.outputs]
    for axes in subsets(max(axes_of, key=len, default=[]), largest_first=True):
        fits = [tuple(axis for axis in axes if axis < y.ndim) for y in leaf.setting.outputs]
        if not any(fits) or (len(fits) > 1 and any(not fit for fit in fits)):
            continue
        all_axes = len(axes) == max(len(y.shape) for y in leaf.setting.outputs)
        where = "" if all_axes else f" over {axes_words(axes)}"

        def mean(d_out: np.ndarray, axes: tuple[int, ...] = axes) -> np.ndarray:
            axes = tuple(axis for axis in axes if axis < d_out.ndim)
            return np.broadcast_to(d_out.mean(axes, keepdims=True), d_out.shape)

        def first(d_out: np.ndarray, axes: tuple[int, ...] = axes) -> np.ndarray:
            for axis in (axis for axis in axes if axis < d_out.ndim):
                d_out = np.broadcast_to(d_out.take([0], axis), d_out.shape)
            return d_out

        c = multiple(leaf, pulled(leaf, mean))
        if c is not None:
            words = factor_words(leaf, c)
            summed = c != 1 and words is not None and "division by N =" in words
            word = "sum" if summed else "mean"
            extra = "" if summed or c == 1 else f", times {number(c)}"
            sentence = f"the cotangent's {word}{where} is used instead of the cotangent{extra}"
            yield Finding("uniform cotangent", sentence, sure=c == 1 or summed)
        elif explains(leaf, pulled(leaf, first)):
            yield Finding("uniform cotangent", f"the cotangent's first element{where} is used for all of it")


def uniform_at_least(leaf: Leaf) -> Iterator[Finding]:
    """Right for a cotangent of ones, which nothing else explains."""
    ones = leaf.oracle.get("ones", np.zeros(()))
    cancels = largest(ones) * leaf.setting.tolerance < 0.5 * leaf.allowed.get("ones", 0.0)
    if ones.any() and not cancels and right(leaf, "ones"):
        yield Finding("uniform cotangent", "right for a cotangent of ones, wrong for one that varies", sure=False)


def added(leaf: Leaf) -> Iterator[Finding]:
    """Something is added that has nothing to do with the cotangent, or that belongs to another leaf."""
    excess = differences(leaf)
    first = excess[first_name(leaf)]
    constant = all(equal(leaf, name, first, more) for name, more in excess.items())
    if constant and first.any() and not ("zeros" in excess and not excess["zeros"].any()):
        named = [(leaf.setting.names[j], x) for j, x in enumerate(leaf.setting.inputs)]
        named += [(output_name(leaf, k), y) for k, y in enumerate(leaf.setting.outputs)]
        for name, value in [("1", np.ones(leaf.shape)), *named]:
            if value.shape == leaf.shape and value.any():
                c = multiple(leaf, lambda _, value=value: value, excess)
                if c is not None:
                    what = f"{number(c)}" if name == "1" else f"{number(c)} x {name}"
                    yield Finding("added", f"{what} is added, whatever the cotangent")
        yield Finding("added", "something is added that does not depend on the cotangent")
    for j, name in enumerate(leaf.setting.names):
        oracle = {other: leaf.setting.oracle[other][j] for other in leaf.manual}
        if j != leaf.i and oracle[first_name(leaf)].shape == leaf.shape and oracle[first_name(leaf)].any():
            c = multiple(leaf, oracle.__getitem__, excess)
            if c is not None and leaf.input.size > 1:
                yield Finding("added", f"the cotangent of {name} is added{times(c)}")
