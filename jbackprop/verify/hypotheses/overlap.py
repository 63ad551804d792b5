"""Several outputs share a place of the input, and their contributions are replaced or averaged instead of added."""

import itertools
from collections.abc import Iterator

import numpy as np

from jbackprop.verify.hypotheses.leaf import Finding, Leaf, first_name, pull, wrong_places
from jbackprop.verify.hypotheses.words import long_axes

MOST_OUTPUTS = 256  # above, contributions are told apart by the row, or by the index modulo 2 or 3
MOST_NUMBERS = 2_000_000
FEW = 9  # groups
LOOSE = 8
RIGHT = 0.005  # of the places of a large array must be right


def overlap(leaf: Leaf) -> Iterator[Finding]:
    """Each wrong place holds one of its contributions, or their mean, and some places are right."""
    wrong, shown = wrong_places(leaf)
    if shown.sum() >= RIGHT * wrong.size or leaf.input.size <= MOST_OUTPUTS:
        yield from _shared(leaf, wrong, shown, late=False)


def overlap_everywhere(leaf: Leaf) -> Iterator[Finding]:
    """The same where hardly a place is right: asked late, since other mistakes are commoner."""
    wrong, shown = wrong_places(leaf)
    if not shown.any() or shown.sum() < RIGHT * wrong.size:
        yield from _shared(leaf, wrong, shown, late=True)


def _shared(leaf: Leaf, wrong: np.ndarray, shown: np.ndarray, late: bool) -> Iterator[Finding]:
    if len(leaf.setting.outputs) != 1 or not _shared_somewhere(leaf, wrong):
        return
    of = f"wrong in {int(wrong.sum())} of {wrong.size} places, which several outputs share"
    for groups in _partitions(leaf.setting.outputs[0].shape, leaf.input.size):
        # As in a product of matrices: no place is one output's, and to ask them all costs too many runs.
        many = leaf.setting.outputs[0].shape != leaf.shape and (late or len(groups) > FEW)
        if many and _reaches_most(leaf, groups[0], wrong):
            continue
        tables = {}
        for name in list(leaf.manual)[:2]:
            table = _contributions(leaf, groups, name, wrong)
            if table is None:
                return
            tables[name] = table
        one = np.logical_and.reduce([_matches(leaf, name, table, wrong) for name, table in tables.items()])
        table = tables[first_name(leaf)]
        count = (np.abs(table) > 10 * leaf.allowed[first_name(leaf)]).sum(0)
        if bool((count <= 1).all()):
            continue
        used = one & (np.abs(table) > 10 * leaf.allowed[first_name(leaf)])
        if not shown.any() and not late:
            continue  # every place is a sum of several, as in a product of matrices: that is a sum left out
        whole = bool(one.all(axis=1).any())
        if bool(one.any(axis=0).all()) and used.any(axis=0)[count > 1].any() and not whole:
            yield Finding("overlap", f"{of}: one contribution replaces the others instead of adding to them")
        if all(_averages(leaf, name, table, count, wrong) for name, table in tables.items()):
            yield Finding("overlap", f"{of}: their contributions are averaged instead of added")


def _reaches_most(leaf: Leaf, group: np.ndarray, wrong: np.ndarray) -> bool:
    """Whether these outputs alone contribute to most of the wrong places, as in a product of matrices."""
    found = _contributions(leaf, [group], first_name(leaf), wrong)
    return found is None or bool((np.abs(found) > 10 * leaf.allowed[first_name(leaf)]).mean() > 1 / 2)


def _shared_somewhere(leaf: Leaf, wrong: np.ndarray) -> bool:
    """Cheaply rules out rules that are larger than any sum of parts could be, or nothing but zeros."""
    return bool(leaf.manual[first_name(leaf)][wrong].any()) and leaf.input.size > 2


def _partitions(shape: tuple[int, ...], size: int) -> Iterator[list[np.ndarray]]:
    """Ways to divide the outputs: one by one, by row of the leading axes, by index modulo 2 or 3 along some axes."""
    n = int(np.prod(shape))
    axes = long_axes(shape)
    if 1 < n <= MOST_OUTPUTS and n * size <= MOST_NUMBERS:
        yield [(np.arange(n) == k).reshape(shape) for k in range(n)]
        return
    index = np.indices(shape, sparse=True)
    for leading in range(len(shape) - 1, 0, -1):
        rows = int(np.prod(shape[:leading]))
        if 1 < rows <= MOST_OUTPUTS and rows * size <= MOST_NUMBERS:
            row = np.arange(rows).reshape(shape[:leading] + (1,) * (len(shape) - leading))
            yield [np.broadcast_to(row == k, shape) for k in range(rows)]
    for modulus in (2, 3):
        inner = axes[1:3] if len(axes) > 2 else axes[:2]
        for chosen in [*((axis,) for axis in axes), tuple(inner)]:
            keys = itertools.product(range(modulus), repeat=len(chosen))
            groups = [
                np.broadcast_to(
                    np.logical_and.reduce(
                        [np.broadcast_to(index[a] % modulus == r, shape) for a, r in zip(chosen, key, strict=True)]
                    ),
                    shape,
                )
                for key in keys
            ]
            yield groups


def _contributions(leaf: Leaf, groups: list[np.ndarray], name: str, wrong: np.ndarray) -> np.ndarray | None:
    """What each group of outputs contributes to the wrong places."""
    (d_out,) = leaf.setting.cotangents[name]
    rows = []
    for group in groups:
        found = pull(leaf, None, [d_out * group])
        if found is None:
            return None
        rows.append(found[wrong])
    return np.stack(rows)


def _matches(leaf: Leaf, name: str, table: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    return np.abs(table - leaf.manual[name][wrong]) <= LOOSE * leaf.allowed[name]


def _averages(leaf: Leaf, name: str, table: np.ndarray, count: np.ndarray, wrong: np.ndarray) -> bool:
    mean = table.sum(0) / np.maximum(count, 1)
    return bool((np.abs(mean - leaf.manual[name][wrong]) <= LOOSE * leaf.allowed[name]).all())
