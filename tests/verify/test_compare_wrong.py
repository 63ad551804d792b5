"""Wrong rules of every kind are planted, and `compare_vjp` must reject each, naming the right argument."""

import jax
import jax.numpy as jnp
import pytest
from compare_probes import check_vjp, compare_vjp, measured
from gradient_probes import normal, rule
from jax.core import Tracer

from jbackprop.verify import compare
from jbackprop.verify.report import VJPError


def test_swapped_cotangents():
    f = rule(lambda x, y: x * jnp.sin(y), lambda x, y: (x * jnp.sin(y), (x, y)), lambda r, d: (d * r[0], d * r[1]))
    assert compare_vjp(f, normal(3), normal(3, seed=1)).wrong == ("x", "y")


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_a_derivative_identically_zero_at_1000_elements(dtype):
    f = rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, dy: (0 * dy,))
    assert compare_vjp(f, normal(1000, dtype=dtype)).wrong == ("x",)


@pytest.mark.parametrize("off", [1.0, 1e-3, 1e-6])
def test_the_value_of_fwd_is_not_the_primal_s(off):
    f = rule(jnp.sin, lambda x: (jnp.sin(x) + off, x), lambda x, dy: (dy * jnp.cos(x),))
    report = compare_vjp(f, normal(600))
    assert not report.ok
    assert report.wrong == ()
    (check,) = [check for check in report.checks if not check.ok]
    assert check.name == "fwd returns the primal's value"


@pytest.mark.parametrize(
    "fwd",
    [
        lambda x: (jnp.sin(x)[None], x),
        lambda x: (jnp.sin(x).astype(jnp.float16), x),
        lambda x: ([jnp.sin(x)], x),
    ],
    ids=["shape", "dtype", "tree"],
)
def test_the_type_of_fwd_is_not_the_primal_s(fwd):
    f = rule(jnp.sin, fwd, lambda x, dy: (jax.tree.leaves(dy)[0].reshape(3).astype(x.dtype) * jnp.cos(x),))
    report = compare_vjp(f, normal(3))
    assert not next(check for check in report.checks if check.name.startswith("fwd returns the primal's tree")).ok


@pytest.mark.parametrize(
    ("bwd", "words"),
    [
        (lambda r, dy: [dy * r[1], dy * r[0]], "it returns a list"),
        (lambda r, dy: dy * r[1], "write `return dx, dy`"),
        (lambda r, dy: (dy * r[1],), r"it returns 1 for the 2 arguments \(x, y\)"),
        (lambda r, dy: {"x": dy, "y": dy}, "it returns a dict"),
        (lambda r, dy: (1.0, dy * r[0]), r"dx: cotangent is float32\[\], the argument float32\[3\]"),
    ],
    ids=["list", "bare array", "too few", "dict", "python scalar"],
)
def test_what_bwd_returns(bwd, words):
    f = rule(lambda x, y: x * y, lambda x, y: (x * y, (x, y)), bwd)
    with pytest.raises(VJPError, match=words):
        check_vjp(f, normal(3), normal(3, seed=1))


def test_a_bwd_that_raises_is_a_finding():
    def bwd(residuals, dy):
        raise RuntimeError("these words")

    report = compare_vjp(rule(jnp.sin, lambda x: (jnp.sin(x), x), bwd), normal(3))
    assert "RuntimeError: these words" in str(report)
    assert not report.ok
    assert not report.rows[0].ok


def test_a_rule_that_depends_on_jit_or_on_the_call():
    calls = []

    def bwd(x, dy):
        calls.append(x)
        return (dy * jnp.cos(x) * (2.0 if isinstance(x, Tracer) else 1.0),)

    report = compare_vjp(rule(jnp.sin, lambda x: (jnp.sin(x), x), bwd), normal(3))
    assert not next(check for check in report.checks if check.name == "the same without jit").ok


def test_a_rule_that_reduces_over_the_batch_axis_of_vmap():
    f = jax.custom_batching.custom_vmap(jnp.cos)
    f.def_vmap(lambda size, batched, x: (jnp.cos(x).mean(0, keepdims=True) + 0 * x, True))
    report = compare.compare_vjp(rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, dy: (dy * f(x),)), normal(3))
    assert [check.name for check in report.checks if not check.ok] == ["vmap is the loop"]


def test_a_rule_wrong_in_one_precision_only():
    def bwd(x, dy):
        return (dy * jnp.cos(x) * (1.01 if x.dtype == jnp.float32 else 1.0),)

    (row,) = compare_vjp(rule(jnp.sin, lambda x: (jnp.sin(x), x), bwd), normal(30)).rows
    assert row.verdict.startswith("wrong: rounding error 1.0e-02 of max|g|")
    assert measured(row.formula_error) < 1e-15


def test_less_accurate_than_automatic_differentiation():
    def bwd(_, dy):  # adds one number after the other, in bfloat16
        return (jax.lax.fori_loop(0, dy.shape[0], lambda i, total: total + dy[i], jnp.zeros((), dy.dtype)),)

    f = rule(lambda b: jnp.broadcast_to(b, (2000,)), lambda b: (jnp.broadcast_to(b, (2000,)), None), bwd)
    (row,) = compare_vjp(f, jnp.ones((), jnp.bfloat16)).rows
    assert row.verdict.startswith("wrong: rounding error")
    assert measured(row.formula_error) < 1e-12


def test_a_rule_under_vmap_is_run_in_float64():
    f = rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, dy: (dy * jnp.cos(x) * (1 + 3e-7),))
    report = compare_vjp(jax.vmap(f), normal(2, 3))
    assert report.notes == ()
    assert report.rows[0].verdict.startswith("wrong: formula error 3.0e-07")


def test_an_integer_output_that_is_not_the_primal_s():
    f = rule(
        lambda x: (x.max(), x.argmax()),
        lambda x: ((x.max(), x.argmin()), x),
        lambda x, dy: (jnp.where(x == x.max(), dy[0], 0),),
    )
    report = compare_vjp(f, jnp.array([1.0, 3.0, 2.0]))
    assert [check.detail for check in report.checks if not check.ok] == ["an integer or boolean output differs"]


def test_a_small_gradient_of_a_large_value_is_not_zero():
    def primal(x):
        return 1e12 + 1e-6 * x

    wrong = rule(primal, lambda x: (primal(x), None), lambda _, dy: (-1e-6 * dy,))
    right = rule(primal, lambda x: (primal(x), None), lambda _, dy: (1e-6 * dy,))
    assert compare_vjp(wrong, normal(5)).wrong == ("x",)
    assert [row.verdict for row in check_vjp(right, normal(5)).rows] == ["ok"]


def test_four_percent_in_bfloat16_alone():
    def bwd(x, dy):
        return ((dy * jnp.cos(x) * (1.04 if x.dtype == jnp.bfloat16 else 1.0)).astype(dy.dtype),)

    assert compare_vjp(rule(jnp.sin, lambda x: (jnp.sin(x), x), bwd), normal(6, 5, dtype=jnp.bfloat16)).wrong == ("x",)


def test_NaN_where_the_data_have_none():
    f = rule(lambda x: jnp.maximum(x, 0), lambda x: (jnp.maximum(x, 0), x), lambda x, dy: (jnp.full_like(x, jnp.nan),))
    assert compare_vjp(f, jnp.array([-1.0, jnp.nan, 2.0])).wrong == ("x",)


def test_against_a_reference():
    def reference(x):
        return 2 * jnp.sin(x)

    report = compare_vjp(jnp.sin, normal(3), reference=reference)
    assert report.wrong == ("x",)
    assert [check.name for check in report.checks if not check.ok] == ["the value is that of reference"]
    assert compare_vjp(lambda x: jnp.sin(x) + jnp.sin(x), normal(3), reference=reference).ok


def test_a_rule_in_a_pytree_argument():
    def f(params, x):
        return x * params["w"][0] + params["b"]

    g = rule(
        f,
        lambda params, x: (f(params, x), (params, x)),
        lambda r, dy: ({"w": (-dy * r[1],), "b": dy}, dy * r[0]["w"][0]),
    )
    report = compare_vjp(g, {"w": (normal(3),), "b": normal(3, seed=1)}, normal(3, seed=2))
    assert report.wrong == ("params['w'][0]",)
    assert {row.argument for row in report.rows} == {"params['w'][0]", "params['b']", "x"}


def test_static_arguments_are_told_apart_from_scalars():
    f = rule(
        lambda x, scale, power: scale * x**power,
        lambda x, scale, power: (scale * x**power, (x, scale)),
        lambda power, r, dy: (dy * r[1] * power * r[0] ** (power - 1), 2 * (dy * r[0] ** power).sum()),
        nondiff_argnums=(2,),
    )
    report = compare_vjp(f, normal(3), 2.0, 3)
    assert report.wrong == ("scale",)
    assert [row.argument for row in report.rows] == ["x", "scale"]
