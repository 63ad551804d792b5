"""What given arguments cannot show is said, once for each kind, and never of ordinary random arguments."""

import jax
import jax.numpy as jnp
import pytest
from gradient_probes import normal

from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.compare import compare_vjp


def said(f, *args):
    return compare_vjp(f, *args, skip=CLAUSES).vacuous


def convolve(x, k):
    return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def pick(x, labels):
    return jnp.take_along_axis(x, labels[:, None], 1).sum()


SQUARE, KERNEL = normal(3, 3), normal(3, 3, 1, 2)
SYMMETRIC, ROTATED = SQUARE + SQUARE.T, KERNEL + KERNEL[::-1, ::-1]
LABELS = jnp.array([0, 2, 1, 2])

SENTENCES = {
    "a batch of one": (
        lambda x, w: x @ w,
        (normal(1, 3), normal(3, 2, seed=1)),
        "x is a batch of one: a missing sum over it would not be seen",
    ),
    "empty": (jnp.sin, (normal(0, 3),), "x is empty: nothing is compared"),
    "NaN": (
        jnp.sin,
        (normal(3).at[1].set(jnp.nan),),
        "x holds NaN or infinity: what it reaches is compared as NaN alone",
    ),
    "zeros": (
        jnp.sin,
        (jnp.zeros(3),),
        "x is zeros: a transpose, a flip or a factor x in the wrong place would not be seen",
    ),
    "one number": (
        jnp.sin,
        (jnp.full((2, 3), 0.5),),
        "x is all elements equal: a transpose, a flip or a factor x in the wrong place would not be seen",
    ),
    "a symmetric matrix": (
        lambda x, w: x @ w,
        (normal(2, 3), SYMMETRIC),
        "w equals its transpose: a missing or needless transpose would not be seen",
    ),
    "a symmetric kernel": (
        convolve,
        (normal(1, 4, 4, 1, seed=1), ROTATED),
        "k equals itself rotated by 180 degrees: a missing rotation would not be seen",
    ),
    "equal rows": (
        lambda x, w: x @ w,
        (jnp.tile(normal(1, 3), (4, 1)), normal(3, 2, seed=1)),
        "all rows of x are equal: rows in the wrong order would not be seen",
    ),
    "the same array twice": (
        lambda x, w: x * jnp.sin(w),
        (normal(4), normal(4)),
        "w and x are the same array: exchanged cotangents would not be seen",
    ),
    "a gradient of zero": (
        lambda x, w: x * jnp.maximum(w, 0),
        (normal(3), -1 - jnp.abs(normal(3, seed=1))),
        "dw is zero here, whatever the cotangent: a rule that gives zero would not be seen",
    ),
    "a single label": (
        pick,
        (normal(4, 3), jnp.full(4, 2)),
        "all of labels are 2: an index in the wrong place would not be seen",
    ),
}


@pytest.mark.parametrize(("f", "args", "sentence"), SENTENCES.values(), ids=SENTENCES.keys())
def test_what_would_not_be_seen_is_said_once(f, args, sentence):
    assert said(f, *args).count(sentence) == 1


def test_blind_arguments_are_no_mistake_and_are_told_in_full():
    report = compare_vjp(lambda x, w: x @ w, SYMMETRIC, SYMMETRIC, skip=CLAUSES)
    assert report.ok
    assert len(report.vacuous) == 3  # each symmetric, and both the same


ORDINARY = {
    "a dense layer": (lambda x, w, b: x @ w + b, (normal(4, 3), normal(3, 3, seed=1), normal(3, seed=2))),
    "a convolution": (convolve, (normal(2, 4, 4, 1), normal(3, 3, 1, 2, seed=1))),
    "a kernel of one": (convolve, (normal(2, 4, 4, 2), normal(1, 1, 2, 1, seed=1))),
    "a row": (lambda x, y: x * y, (normal(1, 3), normal(1, 3, seed=1))),
    "scalars": (lambda x, y: jnp.sin(x) * y, (jnp.float32(0.3), jnp.float32(0.3))),
    "labels": (pick, (normal(4, 3), LABELS)),
    "one label": (pick, (normal(1, 3), jnp.array([2]))),
    "a scalar that is zero": (lambda x, y: jnp.sin(x) + y, (normal(3), jnp.float32(0))),
    "sparse": (lambda x: jnp.maximum(x, 0), (normal(3, 4),)),
    "a mask": (lambda x, m: jnp.where(m, x, 0), (normal(4), jnp.array([True, False, True, True]))),
}


@pytest.mark.parametrize(("f", "args"), ORDINARY.values(), ids=ORDINARY.keys())
def test_nothing_is_said_of_ordinary_arguments(f, args):
    assert said(f, *args) == ()


def test_a_symmetric_matrix_hides_a_transpose_and_a_sample_of_it_shows_it():
    f = jax.custom_vjp(lambda x, w: x @ w)
    f.defvjp(lambda x, w: (x @ w, (x, w)), lambda r, d: (d @ r[1], r[0].T @ d))  # w for its transpose
    x = normal(2, 3)
    given = compare_vjp(f, x, SYMMETRIC, skip=CLAUSES)
    assert given.ok
    assert any(sentence.startswith("w equals its transpose") for sentence in given.vacuous)
    drawn = compare_vjp(f, x, SYMMETRIC, skip=CLAUSES, sample=True)
    assert drawn.wrong == ("x",)
    assert drawn.vacuous == ()
