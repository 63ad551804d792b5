"""The edges of the rules: NumPy arguments, absent arguments, and the smallest shapes at which a rule still holds."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jbackprop
from jbackprop.layers.windows import spatial_axes
from jbackprop.verify.cases import RULES


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("case", RULES, ids=lambda case: case.name)
def test_numpy_arguments_give_jax_values_and_residuals(case):
    """What `fwd` hands to `bwd` is JAX's, so that `bwd` may say `x[::-1]` or `x.at` whatever the caller passed."""
    fwd = getattr(importlib.import_module(f"jbackprop.layers.{case.name}"), f"{case.name}_fwd")
    for example in case.examples:
        arguments = example.arguments(jax.random.key(0), jnp.float32)
        expected = fwd(*arguments, **example.options)
        found = fwd(*map(np.asarray, arguments), **example.options)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for leaf, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert isinstance(leaf, jax.Array)
            np.testing.assert_array_equal(leaf, wanted)


@pytest.mark.parametrize("name", ["linear", "conv2d"])
def test_an_absent_bias_has_no_cotangent(name):
    module = importlib.import_module(f"jbackprop.layers.{name}")
    x, w = (
        (jnp.ones((2, 3)), jnp.ones((3, 4))) if name == "linear" else (jnp.ones((2, 5, 5, 1)), jnp.ones((2, 2, 1, 3)))
    )
    y, residuals = getattr(module, f"{name}_fwd")(x, w)
    static = () if name == "linear" else (1, "VALID", 1, 1)
    dx, dw, db = getattr(module, f"{name}_bwd")(*static, residuals, y)
    assert (dx.shape, dw.shape, db) == (x.shape, w.shape, None)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("number", [-2.0, np.float32(-2)], ids=["Python", "NumPy"])
@pytest.mark.parametrize("name", ["identity", "leaky_relu", "relu", "sigmoid", "tanh"])
def test_a_number_gives_a_jax_value_and_residuals(name, number):
    fwd = getattr(importlib.import_module(f"jbackprop.layers.{name}"), f"{name}_fwd")
    found = jax.tree.leaves(fwd(number))
    assert all(isinstance(leaf, jax.Array) for leaf in found)
    assert found == jax.tree.leaves(fwd(jnp.float32(-2)))


@pytest.mark.usefixtures("as_users_see_it")
def test_options_may_be_those_of_numpy():
    assert jbackprop.softmax(jnp.ones((2, 3)), np.int64(0)).tolist() == [[0.5] * 3] * 2
    none, one = np.array([0, 1])
    given = spatial_axes("max_pool", (4, 4), 2, one, ((one, none), (none, one)))
    assert given == spatial_axes("max_pool", (4, 4), 2, 1, ((1, 0), (0, 1)))


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("padding", [((1, 1), [1, 1]), [(1, 1), (1, 1)]], ids=str)
def test_a_list_is_no_padding(padding):
    """Nor is it a window: a static argument has to have a hash."""
    with pytest.raises(ValueError, match=r"padding is .*: give 'VALID', 'SAME' or tuples \(\(top, bottom\)"):
        spatial_axes("max_pool", (4, 4), 2, 1, padding)


@pytest.mark.parametrize("rule", [jbackprop.relu, jbackprop.leaky_relu])
def test_the_value_itself_has_the_derivative_of_the_rule_at_zero(rule):
    assert jax.grad(jbackprop.automatic(rule))(jnp.float32(0)) == jax.grad(rule)(jnp.float32(0))


def test_what_lies_just_inside_the_limits_is_accepted():
    assert jbackprop.linear(jnp.ones(3), jnp.ones((3, 1))).shape == (1,)
    assert jbackprop.conv2d(jnp.ones((2, 2, 1)), jnp.ones((2, 2, 1, 1))).shape == (1, 1, 1)
    assert jbackprop.max_pool(jnp.ones((1, 1, 1)), 1).shape == (1, 1, 1)
    assert jbackprop.avg_pool(jnp.ones((2, 2, 1)), 2, 1, ((1, 1), (1, 1))).shape == (3, 3, 1)
    assert jbackprop.softmax(jnp.ones((2, 3)), -2).sum(0).tolist() == [1.0, 1.0, 1.0]
    assert jbackprop.softmax(jnp.ones((2, 3)), 1).sum(1).tolist() == [1.0, 1.0]
    assert float(jbackprop.softmax_cross_entropy(jnp.ones((1, 1)), jnp.array([0]))) == 0.0
    assert jax.grad(jbackprop.relu)(jnp.float32(0), 1.0) == 1.0


def row(*values):
    """One row of an image with one channel, in bfloat16: numbers from 256 on are two apart, so 256 + 1 is 256 there."""
    return jnp.asarray(values, jnp.bfloat16)[None, :, None]


def test_overlapping_windows_of_max_pool_add_their_cotangents_in_float32():
    z, vjp = jax.vjp(lambda x: jbackprop.max_pool(x, (1, 3), 1), row(0.0, 0.0, 9.0, 0.0, 0.0))
    assert z.dtype == jnp.bfloat16
    assert vjp(row(1.0, 256.0, 1.0))[0].ravel().tolist() == [0.0, 0.0, 258.0, 0.0, 0.0]  # in whatever order


def test_average_pool_adds_values_and_cotangents_in_float32():
    z, vjp = jax.vjp(lambda x: jbackprop.avg_pool(x, (1, 4), 1), row(256.0, 1.0, 1.0, 2.0, 0.0, 0.0, 0.0))
    assert z.ravel().tolist() == [65.0, 1.0, 0.75, 0.5]
    assert vjp(row(1024.0, 4.0, 4.0, 0.0))[0].ravel().tolist() == [256.0, 256.0, 258.0, 258.0, 2.0, 1.0, 0.0]


def test_max_pool_lets_minus_infinity_win_against_the_padding_of_one_window_and_not_of_the_next():
    x = jnp.full((1, 4, 1), -jnp.inf)  # windows: padding and 0; 1 and 2; 3 and padding
    z, vjp = jax.vjp(lambda x: jbackprop.max_pool(x, (1, 2), 2, ((0, 0), (1, 1))), x)
    assert z.ravel().tolist() == [-np.inf] * 3
    assert vjp(jnp.arange(1.0, 4.0)[None, :, None])[0].ravel().tolist() == [1.0, 2.0, 0.0, 3.0]


COMPUTED_IN_FLOAT32 = {
    "gelu": (jbackprop.gelu, jax.nn.gelu),
    "gelu, exact": (lambda z: jbackprop.gelu(z, False), lambda z: jax.nn.gelu(z, False)),
    "silu": (jbackprop.silu, jax.nn.silu),
    "softplus": (jbackprop.softplus, jax.nn.softplus),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", COMPUTED_IN_FLOAT32)
def test_value_and_derivative_of_two_byte_numbers_carry_one_rounding(name, dtype):
    ours, reference = COMPUTED_IN_FLOAT32[name]
    z = jnp.linspace(-0.5, 4.0, 65).astype(dtype)
    found, vjp = jax.vjp(ours, z)
    (dz,) = vjp(jnp.full_like(z, 3.0))
    with jax.enable_x64(True):
        exact, exact_vjp = jax.vjp(reference, jnp.asarray(np.asarray(z, np.float64)))
        (exact_dz,) = exact_vjp(jnp.full_like(exact, 3.0))
    half_a_step = 0.505 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(found, np.float64), exact, rtol=half_a_step)
    np.testing.assert_allclose(np.asarray(dz, np.float64), exact_dz, rtol=half_a_step)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_labels_of_a_small_dtype_choose_among_more_classes_than_it_counts(dtype):
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((3, 300)), jnp.float32)
    value_and_gradient = jax.value_and_grad(jbackprop.softmax_cross_entropy)
    found, expected = (value_and_gradient(logits, jnp.asarray([1, 100, 44], t)) for t in (dtype, "int32"))
    assert np.isfinite(found[0])
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_label_too_large_for_four_bytes_is_out_of_range():
    with jax.enable_x64(True):
        labels = jnp.asarray([2**32, 0], jnp.int64)
        assert np.isnan(jbackprop.softmax_cross_entropy(jnp.zeros((2, 3)), labels, "none")).tolist() == [True, False]


def test_probabilities_with_two_leading_axes_are_those_of_the_rows():
    rng = np.random.default_rng(0)
    logits, labels = (jnp.asarray(rng.standard_normal((2, 3, 4)), jnp.float32) for _ in range(2))
    found, vjp = jax.vjp(lambda z, y: jbackprop.softmax_cross_entropy(z, y, "none"), logits, labels)
    rows, rows_vjp = jax.vjp(
        lambda z, y: jbackprop.softmax_cross_entropy(z, y, "none"), logits.reshape(6, 4), labels.reshape(6, 4)
    )
    np.testing.assert_allclose(found.ravel(), rows, rtol=1e-6)
    for a, b in zip(vjp(jnp.ones_like(found)), rows_vjp(jnp.ones_like(rows)), strict=True):
        np.testing.assert_allclose(a.reshape(6, 4), b, rtol=1e-5, atol=1e-6)


def test_a_masked_class_with_some_probability_costs_infinitely_much():
    logits, labels = jnp.array([[0.0, -jnp.inf]]), jnp.array([[0.5, 0.5]])
    assert float(jbackprop.softmax_cross_entropy(logits, labels)) == np.inf


def test_the_value_itself_has_the_cotangent_of_the_labels_where_they_are_zero():
    """Differentiating the primal code: 0 log 0 = 0 must not cut off dy = -log p where y = 0 and p > 0."""
    logits, labels = jnp.array([[0.5, -1.0, 2.0]]), jnp.array([[0.0, 1.0, 0.0]])
    by_rule, of_primal = (
        jax.grad(f, 1)(logits, labels)
        for f in (jbackprop.softmax_cross_entropy, jbackprop.automatic(jbackprop.softmax_cross_entropy))
    )
    np.testing.assert_allclose(of_primal, by_rule, rtol=1e-6)
    np.testing.assert_allclose(of_primal, -jax.nn.log_softmax(logits), rtol=1e-6)


@pytest.mark.usefixtures("as_users_see_it")
def test_the_mean_over_rows_of_which_an_inner_axis_is_empty_is_refused():
    with pytest.raises(ValueError, match=r"the mean of an empty batch \(shape \(2, 0\), N = 0\)"):
        jbackprop.softmax_cross_entropy(jnp.zeros((2, 0, 3)), jnp.zeros((2, 0), jnp.int32))
