"""Every mistake that a linear layer allows is planted in it, and `compare_vjp` must name the right argument."""

import functools
import math

import jax
import jax.numpy as jnp
import pytest
from compare_probes import check_vjp, compare_vjp, measured
from gradient_probes import normal, rule

from jbackprop.verify.report import VJPError


def linear(x, w, b):
    return x @ w + b


def linear_fwd(x, w, b):
    return linear(x, w, b), (x, w)


def linear_with(bwd):
    """A linear layer whose `bwd` returns what `bwd(dx, dw, db, x, w, dy)` makes of the right cotangents."""

    def linear_bwd(residuals, dy):
        x, w = residuals
        return bwd(dy @ w.T, x.T @ dy, dy.sum(0), x, w, dy)

    return rule(linear, linear_fwd, linear_bwd)


LINEAR = (normal(4, 5), normal(5, 3, seed=1), normal(3, seed=2))
SQUARE = (normal(4, 4), normal(4, 4, seed=1), normal(4, seed=2))

WRONG_LINEAR = {
    "sign": (lambda dx, dw, db, x, w, dy: (-dx, dw, db), LINEAR, "x"),
    "factor 2": (lambda dx, dw, db, x, w, dy: (dx, 2 * dw, db), LINEAR, "w"),
    "factor 1/N": (lambda dx, dw, db, x, w, dy: (dx, dw / 4, db), LINEAR, "w"),
    "factor N": (lambda dx, dw, db, x, w, dy: (dx, dw, 4 * db), LINEAR, "b"),
    "a relative error of 1e-4": (lambda dx, dw, db, x, w, dy: (dx, dw * 1.0001, db), LINEAR, "w"),
    "a relative error of 1e-9, invisible in float32": (
        lambda dx, dw, db, x, w, dy: (dx, dw + dw * 1e-9, db),
        LINEAR,
        "w",
    ),
    "missing sum over the batch": (lambda dx, dw, db, x, w, dy: (dx, dw, dy[0]), LINEAR, "b"),
    "sum over everything": (lambda dx, dw, db, x, w, dy: (dx, dw, jnp.full_like(db, dy.sum())), LINEAR, "b"),
    "mean for a sum": (lambda dx, dw, db, x, w, dy: (dx, dw, dy.mean(0)), LINEAR, "b"),
    "transposed, square": (lambda dx, dw, db, x, w, dy: (dx, dw.T, db), SQUARE, "w"),
    "w for its transpose, square": (lambda dx, dw, db, x, w, dy: (dy @ w, dw, db), SQUARE, "x"),
    "cotangent ignored": (lambda dx, dw, db, x, w, dy: (jnp.ones_like(dy) @ w.T, dw, db), LINEAR, "x"),
    "last row zero": (lambda dx, dw, db, x, w, dy: (dx.at[-1].set(0), dw, db), LINEAR, "x"),
    "one element": (lambda dx, dw, db, x, w, dy: (dx, dw.at[2, 1].add(1e-2 * dw[2, 2]), db), LINEAR, "w"),
    "right only for a constant cotangent": (
        lambda dx, dw, db, x, w, dy: (dx, dw, jnp.full_like(db, dy.mean() * dy.shape[0])),
        LINEAR,
        "b",
    ),
    "squared cotangent": (lambda dx, dw, db, x, w, dy: (dx, x.T @ (dy * jnp.abs(dy)), db), LINEAR, "w"),
    "clipped cotangent": (lambda dx, dw, db, x, w, dy: (dx, x.T @ jnp.clip(dy, -100, 100), db), LINEAR, "w"),
    "constant for a zero cotangent": (lambda dx, dw, db, x, w, dy: (dx + 1e-3, dw, db), LINEAR, "x"),
    "None for a float": (lambda dx, dw, db, x, w, dy: (dx, None, db), LINEAR, "w"),
    "float16 for float32": (lambda dx, dw, db, x, w, dy: (dx, dw.astype(jnp.float16), db), LINEAR, "w"),
    "int32 for float32": (lambda dx, dw, db, x, w, dy: (dx, dw, db.astype(jnp.int32)), LINEAR, "b"),
    "shape": (lambda dx, dw, db, x, w, dy: (dx, dw, db[None]), LINEAR, "b"),
    "NaN": (lambda dx, dw, db, x, w, dy: (dx.at[0, 0].set(jnp.nan), dw, db), LINEAR, "x"),
    "infinity": (lambda dx, dw, db, x, w, dy: (dx, dw, db / 0), LINEAR, "b"),
}


@pytest.mark.parametrize(("bwd", "args", "argument"), WRONG_LINEAR.values(), ids=WRONG_LINEAR.keys())
def test_names_the_wrong_argument(bwd, args, argument):
    report = compare_vjp(linear_with(bwd), *args)
    assert not report.ok
    assert report.wrong == (argument,)
    assert f"d{argument} " in str(report)


def test_the_formula_error_is_measured_as_a_fraction_of_the_largest_element():
    (row,) = compare_vjp(linear_with(WRONG_LINEAR["sign"][0]), *LINEAR).rows[:1]
    assert row.verdict.startswith("wrong: formula error ")
    assert (row.argument, row.shape, row.dtype) == ("x", (4, 5), "float32")
    for error in (row.value_error, row.formula_error):
        assert math.isclose(measured(error), 2.0, rel_tol=1e-6)
    assert 0 < measured(row.rounding_error) < 1e-6
    assert 0 < measured(row.automatic_error) < 1e-6


def test_finds_a_rule_inside_a_larger_function():
    inner = linear_with(WRONG_LINEAR["missing sum over the batch"][0])

    @jax.jit
    def network(params, x):
        def layer(h, _):
            return jnp.tanh(inner(h, params["w"], params["b"])), None

        return jax.lax.scan(layer, x, length=2)[0].sum()

    params = {"b": normal(4), "w": normal(4, 4, seed=1)}
    report = compare_vjp(network, params, normal(3, 4, seed=2))
    assert report.wrong == ("params['b']",)


def test_arguments_by_keyword_and_in_a_partial():
    f = linear_with(WRONG_LINEAR["factor 2"][0])
    x, w, b = LINEAR
    assert compare_vjp(f, x, kwargs={"w": w, "b": b}).wrong == ("w",)
    assert compare_vjp(functools.partial(f, b=b), x, w).wrong == ("w",)
    assert compare_vjp(jax.jit(f), x, w, b).wrong == ("w",)


def test_the_error_carries_the_table_and_the_data():
    with pytest.raises(AssertionError, match=r"db .*\(3,\) .*float32 .*wrong: formula error") as caught:
        check_vjp(linear_with(WRONG_LINEAR["factor N"][0]), *LINEAR)
    assert isinstance(caught.value, VJPError)
    assert caught.value.report.wrong == ("b",)
