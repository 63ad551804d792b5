"""Wrong rules that hide well, and right ones at the limits of their dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare_probes import compare_vjp
from gradient_probes import normal, rule
from jax.core import Tracer

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


@pytest.mark.parametrize("factor", [1.0, 1 + 1e-8])
def test_digits_that_the_formula_of_autodiff_loses_in_float64_as_well(factor):
    def mean_exponential(x):
        return jnp.expm1(x) / x

    f = rule(
        mean_exponential,
        lambda x: (mean_exponential(x), x),
        lambda x, dy: (factor * dy * (jnp.exp(x) / x - jnp.expm1(x) / x**2),),
    )
    with jax.enable_x64(True):
        report = compare_vjp(f, 1e-3 * normal(300).astype(jnp.float64))
    assert report.ok == (factor == 1), report


@pytest.mark.parametrize("eager", [1.0, 1.5])
@pytest.mark.parametrize(("dtype", "offset"), [(jnp.float32, 1e2), (jnp.float64, 1e4)])
def test_digits_that_rule_and_primal_lose_otherwise_without_jit(dtype, offset, eager):
    def moments(x):
        mean = x.mean(-1, keepdims=True)
        return mean, jax.lax.rsqrt((x * x).mean(-1, keepdims=True) - mean**2 + 1e-5)

    def normalised(x):
        mean, r = moments(x)
        return (x - mean) * r

    def bwd(x, dy):
        mean, r = moments(x)
        y = (x - mean) * r
        dx = r * (dy - dy.mean(-1, keepdims=True) - y * (dy * y).mean(-1, keepdims=True))
        return (dx if isinstance(dx, Tracer) else eager * dx,)

    f = rule(normalised, lambda x: (normalised(x), x), bwd)
    with jax.enable_x64(dtype == jnp.float64):
        report = compare_vjp(f, offset + normal(30, 40).astype(dtype))
    assert report.ok == (eager == 1), report


@pytest.mark.parametrize("factor", [1.0, 1.2])
def test_that_ones_into_a_softmax_cancel_excuses_no_other_cotangent(factor):
    def bwd(p, dy):
        dx = p * (dy - (p * dy).sum(-1, keepdims=True))
        return (dx * jnp.asarray(factor if p.dtype == NARROW else 1.0, p.dtype),)

    f = rule(lambda x: jax.nn.softmax(x), lambda x: (jax.nn.softmax(x),) * 2, bwd)
    assert compare_vjp(f, normal(40, 30).astype(NARROW)).ok == (factor == 1)


@pytest.mark.parametrize("factor", [1.0, 0.0, 5.0])
def test_a_small_jump_at_ties_is_no_noise_of_float64(factor):
    def highest(x, w):
        return (x.reshape(10, 8, 2).max(-1) * w[:, None]).sum(-1)

    def bwd(r, dy):
        x, w = r
        pairs = x.reshape(10, 8, 2)
        hit = (pairs == pairs.max(-1, keepdims=True)).astype(x.dtype)
        dx = hit / hit.sum(-1, keepdims=True) * (dy * w)[:, None, None]
        return dx.reshape(10, 16).at[1:].multiply(factor), dy * pairs.max(-1).sum(-1)

    f = rule(highest, lambda x, w: (highest(x, w), (x, w)), bwd)
    with jax.enable_x64(True):
        x, w = jnp.round(normal(10, 16), 1).astype(jnp.float64), jnp.asarray([1e8] + [1.0] * 9)
        assert compare_vjp(f, x, w).wrong == (() if factor == 1 else ("x",))


@pytest.mark.parametrize("eager", [1.0, 1.03])
def test_what_ill_conditioned_arguments_excuse_holds_without_jit_as_well(eager):
    def bwd(x, dy):
        dx = 1e12 * dy * jnp.cos(1e12 * x)
        return (dx if isinstance(dx, Tracer) else eager * dx,)

    f = rule(lambda x: jnp.sin(1e12 * x), lambda x: (jnp.sin(1e12 * x), x), bwd)
    with jax.enable_x64(True):
        assert compare_vjp(f, normal(200).astype(jnp.float64)).ok == (eager == 1)


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


@pytest.mark.parametrize("slip", [False, True])
def test_float32_by_name_in_a_rule_for_bfloat16_excuses_float32_rounding_alone(slip):
    def normalised(x):
        wide = x.astype(jnp.float32)
        centred = wide - wide.mean(-1, keepdims=True)
        r = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return centred * r, r

    def bwd(x, dy):
        h, r = normalised(x)
        dy = dy.astype(jnp.float32)
        mean = 0 if slip else dy.mean(-1, keepdims=True)
        return ((r * (dy - mean - h * (dy * h).mean(-1, keepdims=True))).astype(x.dtype),)

    f = rule(lambda x: normalised(x)[0].astype(x.dtype), lambda x: (normalised(x)[0].astype(x.dtype), x), bwd)
    assert compare_vjp(f, normal(32, 4096).astype(NARROW)).wrong == (("x",) if slip else ())


@pytest.mark.parametrize("accumulated", [False, True])
def test_a_mask_that_float64_draws_otherwise_excuses_nothing(accumulated):
    def masked(key, x, shape):
        return jnp.where(jax.random.bernoulli(key, 0.75, shape), x / 0.75, 0).astype(x.dtype)

    def bwd(r, dy):
        dx = masked(r, dy, dy.shape)
        if not accumulated:
            return dx, dx.astype(jnp.float32).sum(0).astype(dy.dtype), None
        return dx, jax.lax.scan(lambda total, row: (total + row, None), jnp.zeros(dx.shape[1:], dy.dtype), dx)[0], None

    def primal(x, b, key):
        return masked(key, x + b, x.shape)

    f = rule(primal, lambda x, b, key: (primal(x, b, key), key), bwd)
    x, b = normal(3000, 16).astype(NARROW), normal(16, seed=1).astype(NARROW)
    report = compare_vjp(f, x, b, jax.random.key(0))
    assert report.wrong == (("b",) if accumulated else ())
    assert report.rows[0].formula_error is not None


@pytest.mark.parametrize(("share", "ok"), [(0.0, True), (1 / 5**0.5, True), (0.6, False), (1.0, False)])
def test_shares_at_the_zero_of_a_norm_that_are_too_large_together(share, ok):
    def primal(x):
        return jnp.sqrt((x * x).sum(-1))

    def bwd(x, dy):
        size = primal(x)[:, None]
        return (dy[:, None] * jnp.where(size == 0, jnp.float32(share), x / jnp.where(size == 0, 1, size)),)

    f = rule(primal, lambda x: (primal(x), x), bwd)
    assert compare_vjp(f, normal(9, 5).at[2].set(0)).wrong == (() if ok else ("x",))


@pytest.mark.parametrize("factor", [1.0, -1.0])
def test_one_row_where_autodiff_is_undefined_everywhere(factor):
    """The distance of a point to itself, of which autodiff makes NaN in all of x."""

    def primal(x):
        return jnp.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))

    def bwd(x, dy):
        size = primal(x)[..., None]
        unit = (x[:, None] - x[None]) * jnp.where(size == 0, 0, 1 / jnp.where(size == 0, 1, size))
        return (((dy + dy.T)[..., None] * unit).sum(1).at[-1].multiply(factor),)

    f = rule(primal, lambda x: (primal(x), x), bwd)
    report = compare_vjp(f, normal(60, 8), skip=("second order",))
    assert report.wrong == (() if factor == 1 else ("x",))


@pytest.mark.parametrize(("dtype", "slip"), [(jnp.float32, False), (NARROW, False), (NARROW, True)])
def test_a_key_bias_that_a_softmax_takes_out_again_in_float32_by_name(dtype, slip):
    """Its gradient is zero by mathematics, and in a float64 run noise of float32."""

    def dot(equation, *operands):
        return jnp.einsum(equation, *operands, preferred_element_type=jnp.float32)

    def attention(q, k, b):
        p = jax.nn.softmax(dot("htd,hsd->hts", q, k + b), -1)
        return dot("hts,hsd->htd", p.astype(q.dtype), k).astype(q.dtype)

    def bwd(r, dy):
        q, k, b = r
        p, dp = jax.nn.softmax(dot("htd,hsd->hts", q, k + b), -1), dot("htd,hsd->hts", dy, k)
        ds = (p * (dp - (0 if slip else (dp * p).sum(-1, keepdims=True)))).astype(q.dtype)
        through_keys = dot("hts,htd->hsd", ds, q)
        dk = through_keys + dot("hts,htd->hsd", p.astype(q.dtype), dy)
        return (
            dot("hts,hsd->htd", ds, k + b).astype(q.dtype),
            dk.astype(q.dtype),
            through_keys.sum((0, 1)).astype(q.dtype),
        )

    f = rule(attention, lambda *args: (attention(*args), args), bwd)
    args = (normal(2, 24, 16).astype(dtype), normal(2, 24, 16, seed=1).astype(dtype), normal(16, seed=2).astype(dtype))
    report = compare_vjp(f, *args)
    assert report.wrong == (("q", "k", "b") if slip else ())
    assert all(check.ok for check in report.checks)


def test_wrong_at_a_single_value_where_there_is_no_kink():
    def bwd(x, dy):
        y = jnp.cumprod(x)
        return ((dy * y)[::-1].cumsum()[::-1] / jnp.where(x == 0, 1, x),)

    f = rule(lambda x: jnp.cumprod(x), lambda x: (jnp.cumprod(x), x), bwd)
    (diagnosis,) = compare_vjp(f, normal(12).at[4].set(0)).diagnoses
    assert diagnosis.sentence == "wrong in 1 of 12 places, all in element 4: zero there"
