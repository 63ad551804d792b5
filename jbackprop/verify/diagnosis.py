"""Which named mistake explains the difference between a rule's cotangent and the right one."""

from collections.abc import Callable, Iterator

import numpy as np

from jbackprop.verify.hypotheses.cotangent import added, one_output, uniform, uniform_at_least
from jbackprop.verify.hypotheses.factors import factor_along_axes, local_factor, other_factor, simple_factor
from jbackprop.verify.hypotheses.leaf import Finding, Leaf, leaf_of, right
from jbackprop.verify.hypotheses.leaf import Setting as Setting
from jbackprop.verify.hypotheses.nonlinear import bent_answer, bent_cotangent, nonlinear_at_least
from jbackprop.verify.hypotheses.overlap import overlap, overlap_everywhere
from jbackprop.verify.hypotheses.parts import part_of_the_answer
from jbackprop.verify.hypotheses.places import extra_sum, flipped, permuted, transposed, transposed_inside, wrong_shape
from jbackprop.verify.hypotheses.point import far_point, formula_of_the_output, moved_cotangent, wrong_point
from jbackprop.verify.hypotheses.region import not_finite, one_hot_term, part, ties
from jbackprop.verify.hypotheses.rows import row_weights, rows_left_out
from jbackprop.verify.hypotheses.terms import (
    added_cotangent,
    diagonal_alone,
    missing_along_axes,
    missing_product,
    wrong_derivative,
)
from jbackprop.verify.hypotheses.whole import factor, ignored, pass_through, sign, swapped, zero
from jbackprop.verify.report import Diagnosis

KINDS = (
    "sign",
    "factor",
    "zero",
    "transposed",
    "flipped",
    "swapped",
    "missing sum",
    "extra sum",
    "cotangent ignored",
    "uniform cotangent",
    "part",
    "ties",
    "missing term",
    "overlap",
    "wrong point",
    "pass-through",
    "permuted",
    "not linear",
    "added",
    "dtype",
    "structure",
    "value",
    "impure",
    "accuracy",
    "nan",
    "second order",
    "batching",
    "unexplained",
)

# From the simplest to the vaguest: the first that explains every cotangent is believed.
HYPOTHESES: tuple[Callable[[Leaf], Iterator[Finding]], ...] = (
    not_finite,
    zero,
    ties,
    sign,
    swapped,
    factor,
    transposed,
    flipped,
    extra_sum,
    one_output,
    ignored,
    pass_through,
    added,
    added_cotangent,
    one_hot_term,
    bent_answer,
    permuted,
    uniform,
    diagonal_alone,
    overlap,
    part,
    missing_along_axes,
    simple_factor,
    formula_of_the_output,
    wrong_point,
    rows_left_out,
    moved_cotangent,
    transposed_inside,
    part_of_the_answer,
    factor_along_axes,
    other_factor,
    missing_product,
    overlap_everywhere,
    row_weights,
    far_point,
    bent_cotangent,
    nonlinear_at_least,
    wrong_derivative,
    local_factor,
    uniform_at_least,
)


def diagnose(setting: Setting, i: int) -> Diagnosis | None:
    """Returns the mistake that explains the cotangent of leaf `i`, or None where it is right or nothing explains it.

    A hypothesis is believed where it explains the rule's answers to all the cotangents in `setting`; of several the
    simplest. The oracle is run again, at other points and with other cotangents, only for what is not simple.

    >>> x, dy = np.array([1.0, 2.0, 3.0]), {"random": np.array([0.3, -1.2, 0.7]), "ones": np.ones(3)}
    >>> setting = Setting(
    ...     names=("x",),
    ...     inputs=(x,),
    ...     outputs=(x**2,),
    ...     cotangents={name: (d,) for name, d in dy.items()},
    ...     manual={name: (x * d,) for name, d in dy.items()},
    ...     oracle={name: (2 * x * d,) for name, d in dy.items()},
    ...     pull=lambda inputs, cotangents: (2 * inputs[0] * cotangents[0],),
    ...     tolerance=1e-12,
    ...     kinked=(np.zeros(3, bool),),
    ...     unknown=(np.zeros(3, bool),),
    ...     raw={},
    ... )
    >>> print(diagnose(setting, 0))
    dx: 0.5 x the right answer: a factor 2 is missing
    """
    name = setting.names[i]
    if name in setting.raw:
        found = wrong_shape(leaf_of(setting._replace(manual=setting.oracle), i))
        return found and Diagnosis(name, found.kind, found.sentence)
    leaf = leaf_of(setting, i)
    if not leaf.input.size or all(right(leaf, cotangent) for cotangent in leaf.manual):
        return None
    unsure = None
    for hypothesis in HYPOTHESES:
        with np.errstate(all="ignore"):
            finding = _first(hypothesis(leaf))
        if finding is not None and finding.sure:
            return Diagnosis(name, finding.kind, finding.sentence)
        unsure = unsure or finding
    return Diagnosis(name, unsure.kind, unsure.sentence) if unsure else None


def _first(findings: Iterator[Finding]) -> Finding | None:
    """The first sure finding, or else the first."""
    unsure = None
    for finding in findings:
        if finding.sure:
            return finding
        unsure = unsure or finding
    return unsure
