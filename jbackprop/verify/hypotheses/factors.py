"""Factors that vary: a function of an input or the output, a weight for each row or channel, any local derivative."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jbackprop.verify.hypotheses.forms import (
    EXPONENTIAL,
    FURTHER,
    LARGE,
    SIMPLE,
    Form,
    forms,
    on_sample,
    products,
    sample,
    values,
)
from jbackprop.verify.hypotheses.leaf import Finding, Leaf, first_name, multiple
from jbackprop.verify.hypotheses.words import axes_words, long_axes, number, output_name, subsets, times

LOOSE = 8
STATISTIC = 1e-3  # an epsilon under a root keeps 1 / std from being exact


def simple_factor(leaf: Leaf) -> Iterator[Finding]:
    """The rule times a function of one input or output is right, or the rule has such an array too much."""
    for form in forms(leaf, SIMPLE):
        yield from _missing(leaf, form)
        yield from _too_much(leaf, form)
    if leaf.input.size <= LARGE:
        for form in forms(leaf, FURTHER):
            yield from _missing(leaf, form)


def other_factor(leaf: Leaf) -> Iterator[Finding]:
    """The same with products of two such functions."""
    if leaf.input.size <= LARGE:
        for form in forms(leaf, EXPONENTIAL):
            yield from _missing(leaf, form)
        for form in forms(leaf, {**EXPONENTIAL, **FURTHER}):
            yield from _too_much(leaf, form)
        for form in products(leaf):
            yield from _missing(leaf, form)
            yield from _too_much(leaf, form)


def _missing(leaf: Leaf, form: Form) -> Iterator[Finding]:
    places = sample(leaf)
    manual, oracle = (values(of[first_name(leaf)], places) for of in (leaf.manual, leaf.oracle))
    if on_sample(oracle, manual * values(form.value, places)):
        c = multiple(leaf, lambda name: leaf.manual[name] * form.value, leaf.oracle)
        if c is not None:
            yield Finding("factor", f"a factor {form.words} is missing{times(c)}", sure=_plain(c))


def _too_much(leaf: Leaf, form: Form) -> Iterator[Finding]:
    places = sample(leaf)
    manual, oracle = (values(of[first_name(leaf)], places) for of in (leaf.manual, leaf.oracle))
    if on_sample(manual, oracle * values(form.value, places)):
        c = multiple(leaf, lambda name: leaf.oracle[name] * form.value)
        if c is not None:
            yield Finding("factor", f"a factor {form.words} too much{times(c)}", sure=_plain(c))


def _plain(c: Any) -> bool:
    return isinstance(c, float) and abs(c) in (1.0, 2.0, 0.5)


def factor_along_axes(leaf: Leaf) -> Iterator[Finding]:
    """Right up to a factor that varies along some axes only: a weight, a mask or a standard deviation forgotten."""
    axes = long_axes(leaf.shape)[:4]
    for varying in subsets(axes):
        if len(varying) == len(axes):
            continue
        others = tuple(axis for axis in range(len(leaf.shape)) if axis not in varying)
        factors = _factors(leaf, others)
        if factors is not None and np.ptp(factors) > 1e-6 * np.max(np.abs(factors)):
            words = _name(leaf, factors, others) or f"from {number(factors.min())} to {number(factors.max())}"
            yield Finding("factor", f"a factor that varies along {axes_words(varying)} only is wrong: {words}")


def local_factor(leaf: Leaf) -> Iterator[Finding]:
    """Each place has a multiple of its own, the same for every cotangent."""
    factors = _factors(leaf, ())
    if sum(y.size for y in leaf.setting.outputs) == 1:
        return  # all cotangents are multiples of one, and so are any two answers, place by place
    if factors is not None and leaf.input.size > 1 and leaf.input.ndim and np.ptp(factors) > 0:
        low, high = number(float(factors.min())), number(float(factors.max()))
        words = (
            f"each place has its own multiple of the right answer, from {low} to {high}: the local derivative is wrong"
        )
        yield Finding("factor", words, sure=False)


def _factors(leaf: Leaf, others: tuple[int, ...]) -> np.ndarray | None:
    """The factors, the same for every cotangent and along the axes `others`, or None where they do not explain."""
    inner, norm = np.zeros(()), np.zeros(())
    for name in list(leaf.manual)[:3]:
        if not np.iscomplexobj(leaf.oracle[name]):
            inner = inner + (leaf.manual[name] * leaf.oracle[name]).sum(others, keepdims=True)
            norm = norm + (leaf.oracle[name] ** 2).sum(others, keepdims=True)
    if not norm.any():
        return None
    factors = np.divide(inner, norm, out=np.ones_like(inner), where=norm > 0)
    for name, manual in leaf.manual.items():
        if np.max(np.abs(manual - factors * leaf.oracle[name]), initial=0) > LOOSE * leaf.allowed[name]:
            return None
    return factors


def _name(leaf: Leaf, factors: np.ndarray, others: tuple[int, ...]) -> str | None:
    """What the factors are: an input, or a statistic of one over the axes along which they do not vary."""
    setting = leaf.setting
    named = list(zip(setting.names, setting.inputs, strict=True))
    named += [(output_name(leaf, k), y) for k, y in enumerate(setting.outputs)]
    for name, x in named:
        if np.iscomplexobj(x):
            continue
        tries = [(name, x)] if x.size == factors.size else []
        if x.shape == leaf.shape:
            tries += [
                (f"the standard deviation of {name}", x.std(others)),
                (f"the norm of {name}", np.sqrt((x**2).sum(others))),
                (f"the root mean square of {name}", np.sqrt((x**2).mean(others))),
                (f"the variance of {name}", x.var(others)),
                (f"the sum of {name}", x.sum(others)),
                (f"the mean of {name}", x.mean(others)),
                (f"the sum of exp({name})", np.exp(np.minimum(x, 500)).sum(others)),
            ]
        for words, value in tries:
            flat, wanted = value.reshape(-1), factors.reshape(-1)
            exact = STATISTIC if words != name else 1e-6
            if flat.size == wanted.size and bool(flat.all()):
                if np.allclose(wanted * flat, 1, rtol=exact):
                    return f"a factor {words} is missing"
                if np.allclose(wanted, flat, rtol=exact):
                    return f"a factor {words} too much, or a division by it is missing"
    return None
