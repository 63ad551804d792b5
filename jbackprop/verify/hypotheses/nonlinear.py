"""Answers that are not linear in the cotangent: clipped, squared, divided by a norm."""

from collections.abc import Callable, Iterator

import numpy as np

from jbackprop.verify.distance import largest
from jbackprop.verify.hypotheses.leaf import Finding, Leaf, equal, explains, first_name, multiple, pulled, ratio, right
from jbackprop.verify.hypotheses.words import number

BENDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "squared": np.square,
    "multiplied by its size": lambda a: a * np.abs(a),
    "taken without its sign": np.abs,
    "reduced to its sign": np.sign,
    "cut off below 0": lambda a: np.maximum(a, 0),
    "passed through tanh": np.tanh,
    "rounded": np.round,
    "cubed": lambda a: a**3,
    "divided by its norm": lambda a: a / max(float(np.sqrt((a**2).sum())), 1e-300),
    "divided by its largest element": lambda a: a / max(float(np.max(np.abs(a), initial=0.0)), 1e-300),
}
CLIPS = (1.0, 0.1, 0.01, 0.5, 2.0, 5.0, 10.0, 100.0, 1000.0)
GAIN = 50  # a linear rule's gain varies less between two random cotangents


def bent_answer(leaf: Leaf) -> Iterator[Finding]:
    """The right answer went through a function that is not linear."""
    for words, bend in _all_bends(leaf).items():
        if explains(leaf, lambda name, bend=bend: bend(leaf.oracle[name])):
            yield Finding("not linear", f"not linear in the cotangent: the right answer {words}")


def _all_bends(leaf: Leaf) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    if any(np.iscomplexobj(oracle) for oracle in leaf.oracle.values()):
        return {}
    limits = {*CLIPS}
    if "huge" in leaf.manual and leaf.input.size > 1:
        limits.add(largest(leaf.manual["huge"]))
    clips = {
        f"clipped at {number(limit)}": lambda a, limit=limit: np.clip(a, -limit, limit)
        for limit in sorted(limits)
        if limit > 0
    }
    return {**BENDS, **clips}


def bent_cotangent(leaf: Leaf) -> Iterator[Finding]:
    """The cotangent went through a function that is not linear."""
    bends = _all_bends(leaf)
    if any(y.shape == leaf.shape for y in leaf.setting.outputs):
        for words, bend in bends.items():
            for k, y in enumerate(leaf.setting.outputs):
                if y.shape == leaf.shape and multiple(
                    leaf, lambda name, k=k, bend=bend: bend(leaf.setting.cotangents[name][k])
                ):
                    yield Finding("not linear", f"not linear in the cotangent: the cotangent itself {words}")
    for words, bend in bends.items():
        if _bends(leaf, bend) and multiple(leaf, pulled(leaf, bend)) is not None:
            yield Finding("not linear", f"not linear in the cotangent, which is {words}")


def _bends(leaf: Leaf, bend: Callable[[np.ndarray], np.ndarray]) -> bool:
    """Whether a function changes any cotangent beyond a constant factor."""
    for name in leaf.manual:
        for d_out in leaf.setting.cotangents[name]:
            bent = np.asarray(bend(d_out))
            c = ratio(bent, d_out)
            if c is not None and largest(np.asarray(bent - c * d_out)) > 0.01 * largest(bent):
                return True
    return any(d_out.size == 1 for d_out in leaf.setting.cotangents[first_name(leaf)])


def nonlinear_at_least(leaf: Leaf) -> Iterator[Finding]:
    """Another multiple of the right answer for each cotangent, or a gain that depends on the cotangent's size."""
    usual = [name for name in leaf.manual if name not in ("huge", "tiny")]
    for name in ("huge", "tiny"):
        if name in leaf.manual and not right(leaf, name) and all(right(leaf, other) for other in usual):
            yield Finding("not linear", f"not linear: right for ordinary cotangents, wrong for {name} ones")
    if leaf.input.size > 1 and _own_multiples(leaf):
        yield Finding("not linear", "not linear: another multiple of the right answer for each cotangent")
    gains = {
        name: largest(leaf.manual[name]) / max(map(largest, leaf.setting.cotangents[name]))
        for name in leaf.manual
        if max(map(largest, leaf.setting.cotangents[name]), default=0) > 0 and largest(leaf.oracle[name]) > 0
    }
    for name in ("huge", "tiny"):
        if name in gains and gains.get(first_name(leaf), 0) > 0:
            change = gains[name] / gains[first_name(leaf)]
            if not 1 / GAIN < change < GAIN:
                words = "less" if (change < 1) == (name == "huge") else "more"
                yield Finding("not linear", f"not linear: the answer grows {words} than the cotangent")
                return


def _own_multiples(leaf: Leaf) -> bool:
    found = []
    for name, manual in leaf.manual.items():
        norm = float(np.vdot(leaf.oracle[name], leaf.oracle[name]).real)
        if norm > 0 and largest(leaf.oracle[name]) * leaf.setting.tolerance >= 0.05 * leaf.allowed[name]:
            c = float(np.vdot(leaf.oracle[name], manual).real / norm)
            if not equal(leaf, name, manual, c * leaf.oracle[name]):
                return False
            found.append(c)
    return len(found) > 1 and max(found) - min(found) > 1e-6 * max(map(abs, found))
