"""Words for a region of an array: its last row, an edge, where x < 0."""

import numpy as np

from jbackprop.verify.hypotheses.forms import fit
from jbackprop.verify.hypotheses.leaf import Leaf
from jbackprop.verify.hypotheses.words import listed, long_axes, output_name, subsets

FULL = 0.25  # of a region must be wrong for the region to describe what is wrong
DEPTH = 4  # an edge is at most a fourth of an axis


def region_words(leaf: Leaf, wrong: np.ndarray, shown: np.ndarray) -> str | None:
    """Returns words for the region that holds what is wrong and nothing that is shown to be right, or None."""
    if wrong.sum() == 1 and wrong.size > 1 and wrong.ndim > 1:
        return f"at {tuple(int(i[0]) for i in np.nonzero(wrong))}"
    box, words = box_of(wrong), box_words(wrong)
    inside = int((box & shown).sum())
    if words and (inside == 0 or (box.mean() <= 0.5 and wrong.sum() >= FULL * box.sum())):
        regular = any(word in words for word in ("the first", "the last", "every", " to "))
        return words if regular else _value_words(leaf, wrong, shown) or words
    return _edge_words(wrong, shown) or _diagonal_words(wrong, shown) or _value_words(leaf, wrong, shown)


def box_of(places: np.ndarray) -> np.ndarray:
    """Returns the smallest product of sets of indices that holds all `places`."""
    box = np.ones(places.shape, bool)
    for axis in range(places.ndim):
        others = tuple(a for a in range(places.ndim) if a != axis)
        box &= places.any(axis=others, keepdims=True)
    return box


def box_words(places: np.ndarray) -> str | None:
    """Returns words for the rows, columns or corner that hold all `places`, or None."""
    words = []
    for axis in long_axes(places.shape):
        hit = np.asarray(places.any(axis=tuple(a for a in range(places.ndim) if a != axis)))
        if not hit.all():
            said = _index_words(np.flatnonzero(hit), hit.size, axis, places.ndim)
            if said is None:
                return None
            words.append(said)
    return f"in {' and '.join(words)}" if words else None


def _index_words(rows: np.ndarray, n: int, axis: int, ndim: int) -> str | None:
    noun = "element" if ndim == 1 else "column" if ndim == 2 and axis == 1 else "row" if axis == 0 else "slice"
    where = "" if ndim == 1 else f" (axis {axis})"
    first, last, k = int(rows[0]), int(rows[-1]), len(rows)
    steps = np.diff(rows)
    if k == 1:
        at = "the first" if first == 0 else "the last" if first == n - 1 else None
        return f"{at} {noun}{where}" if at else f"{noun} {first}{where}"
    if k == 2 and first == 0 and last == n - 1 and n > 3:
        return f"the first and the last {noun}{where}"
    if bool((steps == 1).all()):
        at = f"the first {k} {noun}s" if first == 0 else f"the last {k} {noun}s" if last == n - 1 else None
        return f"{at}{where}" if at else f"{noun}s {first} to {last}{where}"
    step = int(steps[0])
    if bool((steps == step).all()) and k > 2 and first < step and last + step >= n:
        every = "every second" if step == 2 else f"every {step}th" if step > 3 else "every third"
        return f"{every} {noun} from {first}{where}"
    if k <= max(2, n / 4) and k <= 6:
        return f"{noun}s {listed([str(row) for row in rows])}{where}"
    return None


def _edge_words(wrong: np.ndarray, shown: np.ndarray) -> str | None:
    axes = [axis for axis in long_axes(wrong.shape) if wrong.shape[axis] >= DEPTH]
    for depth in (1, 2, 3):
        for chosen in subsets(axes[-4:]):
            edge = np.zeros(wrong.shape, bool)
            for axis in chosen:
                index = np.arange(wrong.shape[axis])
                shape = [1] * wrong.ndim
                shape[axis] = -1
                edge |= ((index < depth) | (index >= wrong.shape[axis] - depth)).reshape(shape)
            if edge.mean() > 0.75 or (wrong & ~edge).any() or not (shown & ~edge).any():
                continue
            if wrong.sum() >= FULL * edge.sum():
                of = f"axis {chosen[0]}" if len(chosen) == 1 else f"axes {listed([str(axis) for axis in chosen])}"
                return f"within {depth} of the edge along {of}"
    return None


def _diagonal_words(wrong: np.ndarray, shown: np.ndarray) -> str | None:
    if wrong.ndim < 2 or min(wrong.shape[-2:]) < 3:
        return None
    row, column = np.indices(wrong.shape[-2:])
    regions = {
        "on the diagonal": row == column,
        "off the diagonal": row != column,
        "above the diagonal": row < column,
        "below the diagonal": row > column,
        "on and above the diagonal": row <= column,
        "on and below the diagonal": row >= column,
    }
    for words, region in regions.items():
        if not (wrong & ~region).any() and not (shown & region).any() and (shown & ~region).any():
            return words
    return None


def _value_words(leaf: Leaf, wrong: np.ndarray, shown: np.ndarray) -> str | None:
    if wrong.sum() < 2 or shown.sum() < 2 or wrong.sum() + shown.sum() < 6:
        return None
    setting = leaf.setting
    marks = {name: mark for name, array in setting.fixed.items() if (mark := _mark(array)) is not None}
    named = [(name, x) for name, mark in marks.items() if (x := fit(mark, wrong.shape)) is not None]
    named.append((leaf.name, leaf.input))
    named += [(output_name(leaf, k), y) for k, y in enumerate(setting.outputs)]
    named += [(setting.names[j], x) for j, x in enumerate(setting.inputs) if j != leaf.i]
    for name, value in named:
        if value.shape != wrong.shape or np.iscomplexobj(value) or not np.isfinite(value).all():
            continue
        for words, v in ((name, value), (f"|{name}|", np.abs(value))):
            here, there = v[wrong], v[shown]
            if not here.any() and there.all():
                return f"where {words} = 0"
            for relation, low, high in (("<", here.max(), there.min()), (">", there.max(), here.min())):
                if low < high:
                    return f"where {words} {relation} {_between(float(low), float(high))}"
    return None


def _mark(array: np.ndarray) -> np.ndarray | None:
    """A mask, or what is negative, as labels of -1 are: with all their numbers labels would tell any two rows apart."""
    if np.iscomplexobj(array) or np.isin(array, (0, 1)).all():
        return array
    return np.where(array < 0, -1.0, 1.0) if (array < 0).any() else None


def _between(low: float, high: float) -> str:
    """The roundest number between two others."""
    if low <= 0 <= high:
        return "0"
    for digits in range(6):
        rounded = float(f"{(low + high) / 2:.{digits}e}")
        if low <= rounded <= high:
            return f"{rounded:g}"
    return f"{(low + high) / 2:g}"
