"""Words for numbers, axes and factors."""

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from jbackprop.verify.hypotheses.leaf import Leaf

CONSTANTS = {
    "pi": math.pi,
    "2 pi": 2 * math.pi,
    "sqrt(2)": math.sqrt(2),
    "sqrt(pi)": math.sqrt(math.pi),
    "sqrt(2 pi)": math.sqrt(2 * math.pi),
    "log 2": math.log(2),
    "log 10": math.log(10),
    "e": math.e,
}
LONG = 10_000  # a longer numerator is no simple fraction
CLOSE = 1e-7  # a number named to seven digits is no accident


def number(c: Any) -> str:
    """Returns a number with four digits; one near 1 by its distance from it."""
    if isinstance(c, complex):
        return f"({c.real:.4g} {'-' if c.imag < 0 else '+'} {abs(c.imag):.4g}i)"
    return f"1 {'-' if c < 1 else '+'} {abs(c - 1):.1e}" if 0 < abs(c - 1) < 5e-4 else f"{c:.4g}"


def times(c: Any) -> str:
    """Returns `, times c`, and nothing for 1."""
    return "" if c == 1 else f", times {number(c)}"


def listed(words: Sequence[str]) -> str:
    """Returns `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def axes_words(axes: Sequence[int]) -> str:
    """Returns `axis 0` or `axes 0 and 1`."""
    return f"{'axis' if len(axes) == 1 else 'axes'} {listed([str(axis) for axis in axes])}"


def output_name(leaf: Leaf, k: int) -> str:
    """Returns `the output`, or `output 1` where there are several."""
    return "the output" if len(leaf.setting.outputs) == 1 else f"output {k}"


def subsets(axes: Sequence[int], largest_first: bool = False) -> list[tuple[int, ...]]:
    """Returns the subsets of `axes` that are not empty."""
    found = [s for k in range(1, len(axes) + 1) for s in itertools.combinations(axes, k)]
    return found[::-1] if largest_first else found


def long_axes(shape: Sequence[int]) -> list[int]:
    """Returns the axes along which something can vary."""
    return [axis for axis, length in enumerate(shape) if length > 1]


def factor_words(leaf: Leaf, c: Any) -> str | None:
    """Returns what a multiple c of the right answer means, or None where c is no number that is known here."""
    if isinstance(c, complex):
        return None
    if c < 0:
        words = factor_words(leaf, -c)
        return words and f"the sign is wrong, and {words}"
    for value, name in _numbers(leaf, c):
        if math.isclose(value, 1, rel_tol=CLOSE):
            continue
        if math.isclose(c * value, 1, rel_tol=CLOSE):
            return f"a factor {name} is missing"
        if math.isclose(c, value, rel_tol=CLOSE):
            return f"a division by {name} is missing, or a factor too much"
    return None


def _numbers(leaf: Leaf, c: float) -> Iterator[tuple[float, str]]:
    yield 2.0, "2"
    sizes = list(_sizes(leaf))
    for n, where in sizes:
        yield float(n), f"N = {n} ({where})"
    for n, where in sizes:
        if n > 2:
            yield n / (n - 1), f"N / (N - 1) with N = {n} ({where})"
        yield math.sqrt(n), f"sqrt(N) with N = {n} ({where})"
        yield float(n) ** 2, f"N^2 with N = {n} ({where})"
        yield 2.0 * n, f"2 N with N = {n} ({where})"
        yield n / 2, f"N / 2 with N = {n} ({where})"
    for value, name in _scalars(leaf):
        yield value, name
    for name, value in CONSTANTS.items():
        yield value, name
    for one in (1 / c, c):
        simple = Fraction(one).limit_denominator(12)
        if simple.numerator < LONG:
            yield float(simple), str(simple)
        yield round(one, 3), f"{one:.4g}"


def _sizes(leaf: Leaf) -> Iterator[tuple[int, str]]:
    """The lengths, and products of lengths, that a mean could have divided by."""
    setting = leaf.setting
    arrays = [(y.shape, output_name(leaf, k)) for k, y in enumerate(setting.outputs)]
    arrays += [(x.shape, name) for x, name in zip(setting.inputs, setting.names, strict=True)]
    seen = {1, 2}
    for few in (True, False):
        for shape, name in arrays:
            for axes in subsets(long_axes(shape)):
                n = math.prod(shape[axis] for axis in axes)
                if n not in seen and (len(axes) == 1) == few:
                    seen.add(n)
                    yield n, f"{axes_words(axes)} of {name}"


def _scalars(leaf: Leaf) -> Iterator[tuple[float, str]]:
    """The values of inputs and outputs that are single numbers, and simple functions of them."""
    setting = leaf.setting
    named = [(y, f"y = {output_name(leaf, k)}") for k, y in enumerate(setting.outputs)]
    named += [(x, name) for x, name in zip(setting.inputs, setting.names, strict=True)]
    for array, name in named:
        if array.size != 1 or np.iscomplexobj(array) or not np.isfinite(array).all():
            continue
        value, short = abs(float(array.reshape(()))), name.split(" = ")[0]
        where = name[len(short) :]
        forms = [
            (value, f"{short}{where}"),
            (value**2, f"{short}^2{where}"),
            (math.sqrt(value), f"sqrt({short}){where}"),
        ]
        forms += [(abs(1 - value), f"(1 - {short}){where}"), (2 * value, f"2 {short}{where}")]
        yield from (form for form in forms if form[0] > 0)
