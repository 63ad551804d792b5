"""Terms that are missing from the formula: a mean, a projection, one of the terms of a product rule."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jbackprop.verify.distance import largest
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
from jbackprop.verify.hypotheses.leaf import Finding, Leaf, Named, differences, first_name, multiple, pull, wrong_places
from jbackprop.verify.hypotheses.parts import and_the_part
from jbackprop.verify.hypotheses.whole import output_cotangents
from jbackprop.verify.hypotheses.words import axes_words, long_axes, subsets, times

MOST_AXES = 4
PLACES = 8  # of the diagonal that are looked at
LOOSE = 8  # what a fit may miss, in units of the tolerance


def added_cotangent(leaf: Leaf) -> Iterator[Finding]:
    """The difference is an output's cotangent: a direct path is missing, or there is one too many."""
    for words, axes, candidate in output_cotangents(leaf):
        c = multiple(leaf, candidate, differences(leaf))
        if c is not None and leaf.input.size > 1:
            kind = "added" if isinstance(c, float) and c > 0 else "missing term"
            verb = "added" if kind == "added" else "missing"
            yield Finding(kind, f"{words} is {verb}{times(abs(c))}", sure=not axes)


def diagonal_alone(leaf: Leaf) -> Iterator[Finding]:
    """The rule is dy times the diagonal of the Jacobian, as of a softmax whose places are taken one by one."""
    if len(leaf.setting.outputs) != 1 or leaf.setting.outputs[0].shape != leaf.shape or leaf.input.size < 3:
        return
    name = first_name(leaf)
    d_out = leaf.setting.cotangents[name][0]
    diagonal = np.divide(leaf.manual[name], d_out, out=np.zeros_like(leaf.manual[name]), where=d_out != 0)
    if multiple(leaf, lambda name: diagonal * leaf.setting.cotangents[name][0]) != 1:
        return
    allowed = LOOSE * leaf.allowed[name] / largest(d_out)
    wrong, _ = wrong_places(leaf)
    for place in np.random.default_rng(0).permutation(np.flatnonzero(wrong))[:PLACES]:
        one = (np.arange(leaf.input.size) == place).reshape(leaf.shape)
        found = pull(leaf, None, [one.astype(d_out.dtype)])
        if found is None or abs(found.flat[place] - diagonal.flat[place]) > allowed:
            return
    words = "each place has its own output's contribution alone: those of the other outputs are missing"
    yield Finding("missing term", words)


def missing_along_axes(leaf: Leaf) -> Iterator[Finding]:
    """The difference is a number for each row, or such a number times an array that is known here."""
    excess = differences(leaf)
    if all(largest(more) <= 20 * LOOSE * leaf.allowed[name] for name, more in excess.items()):
        return  # a fit of noise is no evidence
    axes = long_axes(leaf.shape)[:MOST_AXES]
    # Of large arrays only single axes and all of them.
    sets = [s for s in subsets(axes) if leaf.input.size <= LARGE or len(s) in (1, len(axes))]
    for basis_words, array, constant in _bases(leaf):
        for chosen in sets:
            length = int(np.prod([leaf.shape[axis] for axis in chosen]))
            if length <= (array is not None) + constant or not _spans(leaf, excess, array, constant, chosen):
                continue
            if _spans(leaf, leaf.oracle, array, constant, chosen):
                continue
            found = _named_term(leaf, basis_words, array, constant, chosen)
            yield found._replace(sentence=found.sentence + and_the_part(leaf)) if found.sure else found


def _named_term(leaf: Leaf, words: str, array: np.ndarray | None, constant: bool, axes: tuple[int, ...]) -> Finding:
    where = axes_words(axes)
    what = (
        f"a multiple of {words}, another for each line along {where},"
        if words
        else f"a term that is constant along {where}"
    )
    what += f" and a constant along {where}," if words and constant else ""
    plain = array is None or not constant
    if plain and _orthogonal(leaf, leaf.manual, array, axes) and not _orthogonal(leaf, leaf.oracle, array, axes):
        return Finding("added", f"{what} is subtracted, which does not belong there")
    if plain and _orthogonal(leaf, leaf.oracle, array, axes):  # it is what the right answer has taken out
        return Finding("missing term", f"{what}{'' if words else f' (the mean over {where})'} is missing")
    return Finding("missing term", f"{what} is missing, or too much", sure=False)


def _bases(leaf: Leaf) -> Iterator[tuple[str, np.ndarray | None, bool]]:
    """What the missing term may be made of: constants, then one array, then both."""
    yield "", None, True
    found = list(forms(leaf, {**SIMPLE, **EXPONENTIAL}))
    for constant in (False, True):
        for form in found:
            yield form.words, form.value, constant


def _spans(leaf: Leaf, target: Named, array: np.ndarray | None, constant: bool, axes: tuple[int, ...]) -> bool:
    """Whether `target` is, along `axes`, a combination of the array and a constant, for every cotangent."""
    for name, wanted in target.items():
        rest, basis = wanted, array
        if constant:
            rest = rest - rest.mean(axes, keepdims=True)
            basis = None if basis is None else basis - basis.mean(axes, keepdims=True)
        if basis is not None:
            norm = (np.abs(basis) ** 2).sum(axes, keepdims=True)
            inner = (np.conj(basis) * rest).sum(axes, keepdims=True)
            rest = rest - basis * np.divide(inner, norm, out=np.zeros_like(inner), where=norm > 0)
        if np.max(np.abs(rest), initial=0) > LOOSE * leaf.allowed[name]:
            return False
    return True


def _orthogonal(leaf: Leaf, target: Named, array: np.ndarray | None, axes: tuple[int, ...]) -> bool:
    for name, found in target.items():
        inner = (found * (1 if array is None else np.conj(array))).sum(axes)
        size = max(1.0, float(np.max(np.abs(array)))) if array is not None else 1.0
        length = int(np.prod([leaf.shape[axis] for axis in axes]))
        if np.max(np.abs(inner), initial=0) > LOOSE * length * size * leaf.allowed[name]:
            return False
    return True


def missing_product(leaf: Leaf) -> Iterator[Finding]:
    """The difference is the cotangent times a function of an input or an output: a term of a product rule."""
    excess = differences(leaf)
    for k, y in enumerate(leaf.setting.outputs):
        if y.shape != leaf.shape or leaf.input.size < 3:
            continue
        for form in _all_forms(leaf):
            c = _times_cotangent(leaf, excess, form, k)
            if c is not None:
                verb = "is too much, or missing with a minus" if isinstance(c, float) and c > 0 else "is missing"
                yield Finding("missing term", f"the term dy * {form.words} {verb}{times(abs(c))}")


def wrong_derivative(leaf: Leaf) -> Iterator[Finding]:
    """The rule is the cotangent times a function that is not the derivative."""
    for k, y in enumerate(leaf.setting.outputs):
        if y.shape == leaf.shape and leaf.input.size > 2:
            for form in _all_forms(leaf):
                c = _times_cotangent(leaf, leaf.manual, form, k)
                if c is not None:
                    words = f"it is dy * {form.words}{times(c)}, which is not the derivative"
                    yield Finding("factor", words, sure=False)


def _all_forms(leaf: Leaf) -> Iterator[Form]:
    yield from forms(leaf, SIMPLE)
    if leaf.input.size <= LARGE:
        yield from forms(leaf, {**EXPONENTIAL, **FURTHER})
        yield from products(leaf)


def _times_cotangent(leaf: Leaf, target: Named, form: Form, k: int) -> Any:
    places = sample(leaf)
    d_out = leaf.setting.cotangents[first_name(leaf)][k]
    if not on_sample(values(target[first_name(leaf)], places), values(d_out, places) * values(form.value, places)):
        return None
    return multiple(leaf, lambda name: leaf.setting.cotangents[name][k] * form.value, target)
