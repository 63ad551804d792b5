"""The derivative is taken elsewhere: at the output, at the transposed or flipped kernel, at another argument."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from jbackprop.verify.hypotheses.leaf import Candidate, Finding, Leaf, explains, first_name, multiple, pull, pulled
from jbackprop.verify.hypotheses.words import axes_words, long_axes, output_name, times

Formula = Callable[[np.ndarray, np.ndarray], np.ndarray]
Move = tuple[str, Callable[[np.ndarray], np.ndarray]]


def _normalised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.maximum(x.std(-1, keepdims=True), 1e-12)


FUNCTIONS: tuple[Move, ...] = (
    ("0 for {}", np.zeros_like),
    ("1 for {}", np.ones_like),
    ("the square of {}", np.square),
    ("exp of {}", np.exp),
    ("log of {}", lambda x: np.log(np.abs(x))),
    ("the absolute value of {}", np.abs),
    ("the positive part of {}", lambda x: np.maximum(x, 0)),
    ("tanh of {}", np.tanh),
    ("the sigmoid of {}", lambda x: 1 / (1 + np.exp(-x))),
    ("the root of {}", lambda x: np.sqrt(np.abs(x))),
    ("1 / {}", lambda x: 1 / x),
    ("1 - {}", lambda x: 1 - x),
    ("1 + {}", lambda x: 1 + x),
    ("2 {}", lambda x: 2 * x),
    ("half of {}", lambda x: x / 2),
    ("{} rounded", np.round),
)
WHOLE: tuple[Move, ...] = (
    ("{} minus its mean", lambda x: x - x.mean(-1, keepdims=True)),
    ("{} normalised", _normalised),
)


def moved_cotangent(leaf: Leaf) -> Iterator[Finding]:
    """The cotangent is transposed, flipped or rolled, or it and the answer are flipped."""
    for words, move in _rearrangements(max((y.shape for y in leaf.setting.outputs), key=len, default=())):

        def moved(d_out: np.ndarray, move: Callable[[np.ndarray], np.ndarray] = move) -> np.ndarray | None:
            try:
                new = move(d_out)
            except ValueError:
                return None
            return new if new.shape == d_out.shape else None

        candidate = pulled(leaf, moved)
        c = multiple(leaf, candidate)
        if c is not None:
            kind = "transposed" if "transposed" in words else "flipped" if "flipped" in words else "permuted"
            yield Finding(kind, f"right for the cotangent {words}{times(c)}", sure=c == 1)
        elif "flipped" in words and (back := _answer_moved(leaf, candidate, move)):
            yield Finding(
                "flipped", f"right if the cotangent and the answer are both {words}{times(back)}", sure=back == 1
            )


def _answer_moved(leaf: Leaf, candidate: Candidate, move: Callable[[np.ndarray], np.ndarray]) -> float | None:
    def both(name: str) -> np.ndarray | None:
        found = candidate(name)
        return None if found is None or not found.ndim else move(found)

    try:
        return multiple(leaf, both)
    except ValueError:  # the answer has fewer axes than the cotangent
        return None


def _rearrangements(shape: tuple[int, ...]) -> Iterator[Move]:
    axes = long_axes(shape)
    for a in axes:
        for b in axes:
            if a < b and shape[a] == shape[b]:
                yield f"transposed ({axes_words((a, b))})", lambda x, a=a, b=b: np.swapaxes(x, a, b)
    for flip in [*((axis,) for axis in axes), *itertools.pairwise(axes)]:
        yield f"flipped along {axes_words(flip)}", lambda x, flip=flip: np.flip(x, flip)
    for axis in axes:
        for by in (1, -1):
            yield f"rolled by {by} along axis {axis}", lambda x, axis=axis, by=by: np.roll(x, by, axis)


def wrong_point(leaf: Leaf) -> Iterator[Finding]:
    """The right derivative with an output, a turned input or another input in the place of an input."""
    yield from _evaluated(leaf, _points(leaf))


def far_point(leaf: Leaf) -> Iterator[Finding]:
    """The right derivative with a function of an input in its place."""
    yield from _evaluated(leaf, _functions_of(leaf))


def _evaluated(leaf: Leaf, points: Iterator[tuple[str, list[np.ndarray]]]) -> Iterator[Finding]:
    for words, inputs in points:
        if all(np.isfinite(x).all() for x in inputs):
            c = multiple(leaf, lambda name, inputs=inputs: pull(leaf, inputs, leaf.setting.cotangents[name]))
            if c is not None:
                yield Finding("wrong point", f"{words}{times(c)}", sure=c == 1)


def _points(leaf: Leaf) -> Iterator[tuple[str, list[np.ndarray]]]:
    setting = leaf.setting
    arrays = list(setting.inputs)

    for j, x in enumerate(arrays):
        for k, y in enumerate(setting.outputs):
            if y.shape == x.shape:
                yield f"evaluated at {output_name(leaf, k)} instead of {setting.names[j]}", _at(leaf, j, y)
    for j, x in enumerate(arrays):
        for words, move in _rearrangements(x.shape):
            if "flipped" in words or "transposed" in words:
                turned = ", a rotation by 180 degrees" if words.startswith("flipped along axes") else ""
                formula = "the formula leaves that out, or does it needlessly"
                yield f"right with {setting.names[j]} {words}{turned}: {formula}", _at(leaf, j, move(x))
    for j, x in enumerate(arrays):
        for m, other in enumerate(arrays):
            if m != j and other.shape == x.shape:
                words = f"evaluated at {setting.names[m]} in the place of {setting.names[j]}"
                yield words, _at(leaf, j, other)
                if m < j:
                    both = _at(leaf, j, other)
                    both[m] = x
                    yield f"{setting.names[m]} and {setting.names[j]} look swapped in the formula", both

    for j, x in enumerate(arrays):
        yield f"evaluated at minus {setting.names[j]}", _at(leaf, j, -x)


def _at(leaf: Leaf, j: int, value: np.ndarray) -> list[np.ndarray]:
    return [*leaf.setting.inputs[:j], np.asarray(value), *leaf.setting.inputs[j + 1 :]]


def _functions_of(leaf: Leaf) -> Iterator[tuple[str, list[np.ndarray]]]:
    names, inputs = leaf.setting.names, leaf.setting.inputs
    for words, function in (*FUNCTIONS, *WHOLE):
        for j, x in enumerate(inputs):
            if x.ndim or (words, function) in FUNCTIONS:
                with np.errstate(all="ignore"):
                    yield f"evaluated at {words.format(names[j])} instead of {names[j]}", _at(leaf, j, function(x))
    for j, x in enumerate(inputs):
        for words, move in _rearrangements(x.shape):
            if "rolled" in words:
                yield f"evaluated at {names[j]} {words}", _at(leaf, j, move(x))


OUTPUT_FORMULAS: dict[str, Formula] = {
    "1 - y^2": lambda y, d: d * (1 - y**2),
    "1 + y^2": lambda y, d: d * (1 + y**2),
    "y (1 - y)": lambda y, d: d * y * (1 - y),
    "y": lambda y, d: d * y,
    "1 / (2 y)": lambda y, d: d / (2 * y),
    "-y^2": lambda y, d: -d * y**2,
    "-y^3 / 2": lambda y, d: -d * y**3 / 2,
    "1 - exp(-y)": lambda y, d: d * (1 - np.exp(-y)),
    "exp(-y)": lambda y, d: d * np.exp(-y),
}


def formula_of_the_output(leaf: Leaf) -> Iterator[Finding]:
    """A derivative that is written in terms of the output y is given an input instead."""
    setting = leaf.setting
    for k, y in enumerate(setting.outputs):
        if y.shape != leaf.shape:
            continue
        formulas = dict(OUTPUT_FORMULAS)
        for axis in long_axes(y.shape):
            formulas[f"y (dy - sum(y dy)) along axis {axis}"] = lambda y, d, axis=axis: (
                y * (d - (y * d).sum(axis, keepdims=True))
            )
            formulas[f"dy - exp(y) sum(dy) along axis {axis}"] = lambda y, d, axis=axis: (
                d - np.exp(y) * d.sum(axis, keepdims=True)
            )
        for words, formula in formulas.items():
            with np.errstate(all="ignore"):
                if not _is_right(leaf, formula, y, k):
                    continue
                for name, z in [*zip(setting.names, setting.inputs, strict=True), ("minus y", -y)]:
                    if z.shape == y.shape and explains(leaf, _formula_at(leaf, formula, z, k)):
                        what = f"the derivative is {words} with y the output, but {name} is put for y"
                        yield Finding("wrong point", what)


def _formula_at(leaf: Leaf, formula: Formula, z: np.ndarray, k: int) -> Candidate:
    return lambda name: formula(z, leaf.setting.cotangents[name][k])


def _is_right(leaf: Leaf, formula: Formula, y: np.ndarray, k: int) -> bool:
    found = formula(y, leaf.setting.cotangents[first_name(leaf)][k])
    return bool(
        np.max(np.abs(found - leaf.oracle[first_name(leaf)]), initial=0.0) <= 8 * leaf.allowed[first_name(leaf)]
    )
