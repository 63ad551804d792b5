"""Wrong rules that hide well, and right ones at the limits of their dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare_probes import compare_vjp
from gradient_probes import normal, rule

from jbackprop.verify import compare

NARROW = jnp.bfloat16


def narrow_product(a, b):
    return jnp.dot(a.astype(NARROW), b.astype(NARROW), preferred_element_type=jnp.float32)


@pytest.mark.parametrize(("factor", "ok"), [(1.0, True), (0.0, False), (1.1, False)])
def test_a_cast_to_bfloat16_inside_excuses_its_own_rounding_alone(factor, ok):
    f = rule(
        narrow_product,
        lambda x, w: (narrow_product(x, w), (x, w)),
        lambda r, dy: (narrow_product(dy, r[1].T), factor * narrow_product(r[0].T, dy)),
    )
    assert compare_vjp(f, normal(64, 128), normal(128, 8, seed=1)).wrong == (() if ok else ("b",))


@pytest.mark.parametrize("wrong", [0, 1])
def test_one_kink_among_a_thousand(wrong):
    x = jnp.concatenate([jnp.zeros(1000), normal(1000)])
    twice = jnp.arange(2000) < wrong
    f = rule(
        lambda x: jnp.maximum(x, 0),
        lambda x: (jnp.maximum(x, 0), x),
        lambda x, dy: (jnp.where(x > 0, dy, jnp.where(x == 0, jnp.where(twice, 2 * dy, dy), 0)),),
    )
    assert compare_vjp(f, x).ok == (not wrong)


def test_the_cotangent_must_be_differentiable_as_well():
    f = rule(jnp.exp, lambda x: (jnp.exp(x), x), lambda x, dy: (jnp.exp(x) * jax.lax.stop_gradient(dy),))
    report = compare.compare_vjp(f, normal(5), skip=("vmap", "scan", "checkpoint"))
    assert [check.name for check in report.checks if not check.ok] == ["second order"]


def test_outputs_of_different_rank():
    def primal(x):
        return x**2, x.mean(0), x.sum()

    f = rule(primal, lambda x: (primal(x), x), lambda x, d: (2 * d[0] * x + d[2],))
    report = compare_vjp(f, normal(4, 3))
    assert report.wrong == ("x",)
    assert [diagnosis.argument for diagnosis in report.diagnoses] == ["x"]


def test_ill_conditioned_arguments_excuse_what_one_rounding_of_them_does():
    x = 1e4 + normal(500)
    f = rule(lambda x: jnp.var(x), lambda x: (jnp.var(x), x), lambda x, dy: (2 * dy * (x - x.mean()) / x.size,))
    (row,) = compare_vjp(f, x).rows
    assert row.verdict.startswith("ok: as accurate as its arguments")
    twice = rule(lambda x: jnp.var(x), lambda x: (jnp.var(x), x), lambda x, dy: (2.01 * dy * (x - x.mean()) / x.size,))
    assert compare_vjp(twice, x).wrong == ("x",)


def test_an_eigenvalue_of_1e_10_in_float64():
    with jax.enable_x64(True):
        a = jnp.asarray(1 / (np.arange(8)[:, None] + np.arange(8) + 1.0))
        b = jnp.asarray(np.random.default_rng(0).standard_normal(8))

        def fwd(a, b):
            y = jnp.linalg.solve(a, b)
            return y, (a, y)

        def bwd(r, dy):
            db = jnp.linalg.solve(r[0].T, dy)
            return -jnp.outer(db, r[1]), db

        assert not compare_vjp(rule(lambda a, b: jnp.linalg.solve(a, b), fwd, bwd), a, b).wrong


def test_a_cotangent_that_is_zero_by_construction_and_is_not_instantiated():
    f = jax.custom_vjp(lambda x: (x**2, jnp.sin(x)))
    f.defvjp(
        lambda x: ((x.value**2, jnp.sin(x.value)), x.value),
        lambda x, d: (2 * x * d[0] + jnp.cos(x) * d[1],),
        symbolic_zeros=True,
    )
    (check,) = (check for check in compare_vjp(f, normal(4)).checks if not check.ok)
    assert check.name == "one output or argument at a time"
    assert "instantiate() it" in check.detail


def test_a_rule_that_runs_alone_and_breaks_under_vmap():
    def halved(x):
        if x.ndim > 1:
            raise ValueError("one example at a time")
        return x / 2

    def bwd(x, dy):
        half = jax.pure_callback(halved, jax.ShapeDtypeStruct(x.shape, x.dtype), dy, vmap_method="broadcast_all")
        return (2 * half,)

    f = jax.custom_vjp(lambda x: 1 * x)
    f.defvjp(lambda x: (1 * x, x), bwd)
    report = compare.compare_vjp(f, normal(4))
    assert "vmap is the loop" in [check.name for check in report.checks if not check.ok]
