"""A narrow dtype or a rounded constant inside excuses its own rounding and no formula, however long the sums."""

import jax
import jax.numpy as jnp
import pytest
from compare_probes import compare_vjp
from gradient_probes import normal, rule

from jbackprop.verify import bounds
from jbackprop.verify.corpus.wrong_hidden import gated_norm, gated_norm_bwd


def gated_norm_with(mask_dtype, eps):
    """The right rule for eps = 1e-5; the mask is 0 or 1, exact in any dtype."""
    return rule(
        gated_norm, lambda x, w: (gated_norm(x, w), (x, w, (x @ w > 0).astype(mask_dtype))), gated_norm_bwd(eps)
    )


@pytest.mark.parametrize("mask_dtype", [bool, jnp.bfloat16])
@pytest.mark.parametrize(("eps", "wrong"), [(1e-5, ()), (0.0, ("x", "w"))])
def test_a_mask_in_a_narrow_dtype_hides_no_formula(mask_dtype, eps, wrong):
    report = compare_vjp(gated_norm_with(mask_dtype, eps), normal(1000, 32), normal(32, 8, seed=1))
    assert report.wrong == wrong


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_narrow_residual_is_less_accurate_than_autodiff_however_long_the_sum(dtype):
    f = rule(
        lambda x, w: x @ w,
        lambda x, w: (x @ w, (x.astype(dtype), w)),
        lambda r, dy: (dy @ r[1].T, r[0].astype(dy.dtype).T @ dy),
    )
    assert compare_vjp(f, normal(20_000, 4), normal(4, 2, seed=1)).wrong == ("w",)


@pytest.mark.parametrize(("scale", "ok"), [(1 / 0.9, True), (1.1, False)])
def test_a_factor_of_one_per_cent_beside_rounded_constants(scale, ok):
    def dropout(x, key):
        return jnp.where(jax.random.bernoulli(key, 0.9, x.shape), x / 0.9, 0)

    def bwd(key, dy):
        return jnp.where(jax.random.bernoulli(key, 0.9, dy.shape), dy * scale, 0), None

    f = rule(dropout, lambda x, key: (dropout(x, key), key), bwd)
    assert compare_vjp(f, normal(30, 64, dtype=jnp.bfloat16), jax.random.key(1)).ok == ok


def test_where_rounding_explains_any_error_the_report_says_so(monkeypatch):
    f = rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, dy: (dy * jnp.cos(x),))
    plain = compare_vjp(f, normal(9))
    monkeypatch.setattr(bounds, "USELESS", 1e-15)  # as if the point were so ill-conditioned
    report = compare_vjp(f, normal(9))
    assert report.ok
    assert report.rows[0].verdict == "ok: nothing is told from rounding, which is larger than the gradient"
    words = "dx is smaller than its rounding here, in float64 too: a wrong formula would not be seen"
    assert words in report.vacuous
    assert words not in plain.vacuous
