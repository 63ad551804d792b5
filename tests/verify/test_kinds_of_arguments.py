"""Whatever goes in and out of a function: pytrees, keywords, scalars, nothing at all, and every dtype."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_probes import FACTORS, W, X, gradients, normal, rule, scaled, sine

from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.compare import check_vjp, compare_vjp
from tests.custom_vjp3 import unhashable_static_arguments


class Params(NamedTuple):
    w: jax.Array
    b: list


@pytest.mark.parametrize("factor", FACTORS)
def test_pytrees_in_and_out(factor):
    def f(params, x, names):
        return {"sum": params.w * x + params.b[0], "none": None, names[0]: (x.sum(), params.b[1])}

    def bwd(names, r, d):
        params, x = r
        total, rest = d["sum"], d[names[0]]
        return Params(total * x, [factor * total, rest[1]]), total * params.w + rest[0]

    g = rule(f, lambda params, x, names: (f(params, x, names), (params, x)), bwd, nondiff_argnums=(2,))
    report = gradients(g, Params(W, [normal(4, seed=2), jnp.float32(2)]), X, ("rest",))
    assert report.wrong == (() if factor == 1 else ("params.b[0]",))
    assert [row.argument for row in report.rows] == ["params.w", "params.b[0]", "params.b[1]", "x"]


def test_keyword_arguments():
    report = gradients(lambda x, *, w, power=2: scaled(2.0)(x, w) ** power, X, kwargs={"w": W})
    assert report.wrong == ("w",)
    assert [row.argument for row in report.rows] == ["x", "w"]


def test_any_number_of_arguments():
    report = gradients(lambda *xs: scaled(2.0)(xs[0], xs[1]), X, W)
    assert report.wrong == ("xs[1]",)


@pytest.mark.parametrize("factor", FACTORS)
def test_several_outputs(factor):
    f = rule(
        lambda x: (jnp.sin(x), x.sum(), x.argmax()),
        lambda x: ((jnp.sin(x), x.sum(), x.argmax()), x),
        lambda x, d: (d[0] * jnp.cos(x) + factor * d[1],),
    )
    assert gradients(f, X).ok == (factor == 1)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("x", [jnp.float32(0.3), np.float32(0.3), 0.3, np.array(0.3)], ids=lambda x: type(x).__name__)
def test_scalars(x, factor):
    report = compare_vjp(sine(factor), x, skip=[clause for clause in CLAUSES if clause != "finite differences"])
    assert report.ok == (factor == 1)
    assert report.rows[0].shape == ()


def test_empty_arrays():
    f = rule(lambda x, b: x + b, lambda x, b: (x + b, None), lambda _, d: (d, d.sum(0)))
    check_vjp(f, jnp.zeros((0, 3)), normal(3))
    ones = rule(lambda x, b: x + b, lambda x, b: (x + b, None), lambda _, d: (d, jnp.ones(3)))
    assert gradients(ones, jnp.zeros((0, 3)), normal(3)).wrong == ("b",)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_dtypes(dtype):
    x = normal(30, dtype=dtype)
    report = compare_vjp(sine(1.0), x, skip=["vmap", "scan", "checkpoint", "second order"])
    assert (report.ok, report.rows[0].dtype) == (True, jnp.dtype(dtype).name)
    assert gradients(sine(1.01), x).wrong == ("x",)


def test_float64_where_the_caller_has_it():
    with jax.enable_x64(True):
        x = np.random.default_rng(0).standard_normal(9)
        assert compare_vjp(sine(1.0), x, skip=["vmap", "scan", "checkpoint"]).ok
        assert gradients(sine(1 + 1e-10), x).wrong == ("x",)


def test_arguments_of_two_dtypes():
    f = rule(
        lambda x, w: x * w.astype(x.dtype),
        lambda x, w: (x * w.astype(x.dtype), (x, w)),
        lambda r, d: (d * r[1].astype(d.dtype), (d * r[0]).astype(r[1].dtype)),
    )
    check_vjp(f, X, W.astype(jnp.bfloat16), skip=["vmap", "scan", "checkpoint", "second order"])


def test_complex_numbers():
    z = jnp.array([1 + 2j, 0.5j, -1.0])
    assert compare_vjp(sine(1.0), z, skip=["vmap", "scan", "checkpoint"]).ok
    conjugated = rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.conj(jnp.cos(x)),))
    assert gradients(conjugated, z).wrong == ("x",)


@unhashable_static_arguments
def test_a_random_key_and_a_static_array_are_passed_on():
    def f(x, key, table):
        return x * jax.random.normal(key, x.shape) * table

    g = rule(
        f,
        lambda x, key, table: (f(x, key, table), key),
        lambda table, key, d: (f(d, key, table), None),
        nondiff_argnums=(2,),
    )
    check_vjp(
        g, X, jax.random.key(0), np.arange(4, dtype=np.float32), skip=["vmap", "scan", "checkpoint", "second order"]
    )


ROWS = jnp.asarray([True, True, False, True, False, True, True])
CLASSES = jnp.asarray([1, 0, -100, 3, 2, -100, 1])


@pytest.mark.parametrize(
    ("primal", "derivative", "fixed", "place"),
    [
        (lambda x, mask: jnp.where(mask, jnp.sin(x), 0), jnp.cos, ROWS[:, None] ^ (normal(7, 4) > 0), "mask = 0"),
        (lambda x, rows: jnp.where(rows[:, None], jnp.sin(x), 0), jnp.cos, ROWS, "rows = 0"),
        (lambda x, labels: jnp.where(labels[:, None] < 0, 0, x**2), lambda x: 2 * x, CLASSES, "labels < 0"),
    ],
)
def test_an_argument_without_a_gradient_says_where_the_rule_is_wrong(primal, derivative, fixed, place):
    f = rule(primal, lambda x, fixed: (primal(x, fixed), x), lambda x, d: (d * derivative(x), None))
    found = compare_vjp(f, normal(7, 4), fixed).diagnoses
    assert [(one.kind, one.sentence.endswith(f"places, all where {place}")) for one in found] == [("part", True)]
