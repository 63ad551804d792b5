"""Simple functions of the inputs and outputs, from which factors and terms of a formula are made."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jbackprop.verify.hypotheses.leaf import Leaf, ratio

Functions = dict[str, Callable[[np.ndarray], np.ndarray]]

SAMPLE = 1024  # places at which a form is tried before it is tried everywhere
LARGE = 100_000  # elements; above, the simplest forms are all that is tried


class Form(NamedTuple):
    """A function of the inputs and outputs in the shape of a leaf, in words."""

    words: str
    value: np.ndarray


def _sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


SIMPLE: Functions = {
    "{}": lambda v: v,
    "1 / {}": lambda v: 1 / v,
    "{}^2": np.square,
}
EXPONENTIAL: Functions = {
    "exp({})": np.exp,
    "exp(-{})": lambda v: np.exp(-v),
}
FURTHER: Functions = {
    "(1 - {})": lambda v: 1 - v,
    "(1 + {})": lambda v: 1 + v,
    "(1 - {}^2)": lambda v: 1 - v**2,
    "(1 + {}^2)": lambda v: 1 + v**2,
    "1 / {}^2": lambda v: 1 / v**2,
    "{0} (1 - {0})": lambda v: v * (1 - v),
    "{}^3": lambda v: v**3,
    "sqrt|{}|": lambda v: np.sqrt(np.abs(v)),
    "sign({})": np.sign,
    "({} > 0)": lambda v: (v > 0).astype(v.dtype),
    "sin({})": np.sin,
    "cos({})": np.cos,
    "exp(-{}^2)": lambda v: np.exp(-(v**2)),
    "exp(-{}^2 / 2)": lambda v: np.exp(-(v**2) / 2),
    "log|{}|": lambda v: np.log(np.abs(v)),
    "tanh({})": np.tanh,
    "(1 - tanh({})^2)": lambda v: 1 - np.tanh(v) ** 2,
    "sigmoid({})": _sigmoid,
    "(1 - sigmoid({}))": lambda v: _sigmoid(-v),
    "sigmoid'({})": lambda v: _sigmoid(v) * _sigmoid(-v),
    "Phi({})": lambda v: 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(v / math.sqrt(2))),
}


def forms(leaf: Leaf, functions: Functions) -> Iterator[Form]:
    """Yields `functions` of every input and output that fits the leaf, those that vary."""
    yield from _applied(functions, _fitted(leaf))


def products(leaf: Leaf) -> Iterator[Form]:
    """Yields an input or output times a function of it or of another."""
    fitted = _fitted(leaf)
    for first in fitted:
        for second in fitted:
            same = first.words == second.words
            functions = {**({} if same else SIMPLE), **EXPONENTIAL, **FURTHER}
            named = {f"{first.words} {words}": _product(first.value, f) for words, f in functions.items()}
            yield from _applied(named, [second])


def _fitted(leaf: Leaf) -> list[Form]:
    setting = leaf.setting
    named = list(zip(setting.names, setting.inputs, strict=True))
    for k, y in enumerate(setting.outputs):
        named.append(("y" if len(setting.outputs) == 1 else f"y{k}", y))
    clash = {"y", "y0", "y1", "y2"} & set(setting.names)
    named = [
        (f"the output {name}" if clash and at >= len(setting.names) else name, x) for at, (name, x) in enumerate(named)
    ]
    named += setting.fixed.items()
    return [Form(name, fitted) for name, array in named if (fitted := fit(array, leaf.shape)) is not None]


def _product(first: np.ndarray, f: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda v: first * f(v)


def _applied(functions: Functions, arrays: list[Form]) -> Iterator[Form]:
    for words, function in functions.items():
        for form in arrays:
            with np.errstate(all="ignore"):
                value = function(form.value)
            if bool(np.isfinite(value).all()) and np.ptp(value) > 0:
                yield Form(words.format(form.words), value)


def fit(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Returns the array in the shape of the leaf, aligned at the end or the front; None where it does not fit."""
    if np.iscomplexobj(array) or array.ndim > len(shape) or array.size < 2 or not np.isfinite(array).all():
        return None
    for aligned in (array.shape, array.shape + (1,) * (len(shape) - array.ndim)):
        padded = (1,) * (len(shape) - len(aligned)) + aligned
        if all(n in (1, wanted) for n, wanted in zip(padded, shape, strict=True)):
            return np.broadcast_to(array.reshape(padded), shape)
    return None


def sample(leaf: Leaf) -> np.ndarray:
    """Returns the flat indices of some places, the same at every call."""
    size = leaf.input.size
    return np.arange(size) if size <= SAMPLE else np.random.default_rng(0).integers(0, size, SAMPLE)


def values(array: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the elements at some places."""
    return array.reshape(-1)[places] if array.flags.c_contiguous else array[np.unravel_index(places, array.shape)]


def on_sample(wanted: np.ndarray, found: np.ndarray) -> bool:
    """Whether `wanted` may be a multiple of `found`, judged at the sample."""
    c = ratio(wanted, found)
    largest = np.max(np.abs(wanted), initial=0.0)
    return c is not None and bool(np.max(np.abs(wanted - c * found), initial=0.0) <= 1e-3 * largest)
