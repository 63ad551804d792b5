"""What a rule sums is summed in float32 at least, and what it keeps is as small as its page says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.layers.avg_pool import avg_pool_fwd
from jbackprop.layers.conv2d import conv2d, conv2d_fwd
from jbackprop.layers.flatten import flatten_fwd
from jbackprop.layers.gelu import gelu_fwd
from jbackprop.layers.identity import identity_fwd
from jbackprop.layers.leaky_relu import leaky_relu_fwd
from jbackprop.layers.linear import linear, linear_fwd
from jbackprop.layers.log_softmax import log_softmax, log_softmax_fwd
from jbackprop.layers.max_pool import Residuals, max_pool, max_pool_fwd
from jbackprop.layers.mean_squared_error import mean_squared_error, mean_squared_error_fwd
from jbackprop.layers.relu import relu_fwd
from jbackprop.layers.sigmoid import sigmoid_fwd
from jbackprop.layers.silu import silu_fwd
from jbackprop.layers.softmax import softmax, softmax_fwd
from jbackprop.layers.softmax_cross_entropy import softmax_cross_entropy_bwd, softmax_cross_entropy_fwd
from jbackprop.layers.softplus import softplus_fwd
from jbackprop.layers.squared_error import squared_error_fwd
from jbackprop.layers.tanh import tanh_fwd
from jbackprop.verify.automatic import automatic
from jbackprop.verify.cases import RULES

LOW = ("bfloat16", "float16")


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("dtype", LOW)
def test_the_bias_gradient_of_4096_rows_is_within_a_fifth_of_a_percent_of_float64(dtype):
    x, w, b = jnp.asarray(draw(0, 4096, 3), dtype), jnp.asarray(draw(1, 3, 5), dtype), jnp.zeros(5, dtype)
    dy = jnp.asarray(0.5 + draw(2, 4096, 5) ** 2, dtype)
    db = jax.vjp(linear, x, w, b)[1](dy)[2]
    exact = np.asarray(dy, np.float64).sum(0)
    assert np.abs(np.asarray(db, np.float64) - exact).max() <= 0.002 * np.abs(exact).max()


@pytest.mark.parametrize("dtype", LOW)
def test_the_gradients_of_a_convolution_over_4096_positions_carry_one_rounding(dtype):
    x, w, b = jnp.asarray(draw(0, 16, 16, 16, 2), dtype), jnp.asarray(draw(1, 1, 1, 2, 3), dtype), jnp.zeros(3, dtype)
    dy = jnp.asarray(0.5 + draw(2, 16, 16, 16, 3) ** 2, dtype)
    _, dw, db = jax.vjp(conv2d, x, w, b)[1](dy)
    wide_x, wide_dy = np.asarray(x, np.float64), np.asarray(dy, np.float64)
    one_rounding = 1.01 * float(jnp.finfo(dtype).eps)
    for ours, exact in ((db, wide_dy.sum((0, 1, 2))), (dw[0, 0], np.einsum("nuvi,nuvo->io", wide_x, wide_dy))):
        assert np.abs(np.asarray(ours, np.float64) - exact).max() <= one_rounding * np.abs(exact).max()


@pytest.mark.parametrize("dtype", LOW)
def test_a_mean_over_4096_elements_is_summed_in_float32(dtype):
    prediction, target = jnp.asarray(draw(0, 4096), dtype), jnp.zeros(4096, dtype)
    exact = np.mean(np.asarray(prediction, np.float64) ** 2)
    assert abs(float(mean_squared_error(prediction, target)) - exact) <= float(jnp.finfo(dtype).eps) * exact


@pytest.mark.parametrize("labels", [jnp.asarray([0]), jnp.asarray([[1.0, 0.0]], jnp.bfloat16)], ids=["index", "row"])
def test_cross_entropy_of_a_sure_and_right_network_keeps_a_gradient_in_bfloat16(labels):
    logits = jnp.asarray([[8.0, 0.0]], jnp.bfloat16)
    J, residuals = softmax_cross_entropy_fwd(logits, labels)
    dlogits, dlabels = softmax_cross_entropy_bwd("mean", residuals, jnp.ones_like(J))
    assert float(dlogits[0, 0]) == pytest.approx(-1 / (1 + np.exp(8)), rel=1e-2)
    assert dlogits.dtype == jnp.bfloat16
    assert dlabels is None or dlabels.dtype == jnp.bfloat16


@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize("rule", [softmax, log_softmax])
def test_the_cotangents_of_softmax_are_as_accurate_as_those_of_automatic_differentiation(rule, dtype):
    z, ct = jnp.asarray(draw(0, 4, 1000), dtype), jnp.asarray(draw(1, 4, 1000) ** 2, dtype)

    def error(function):
        (dz,) = jax.jit(lambda z, ct: jax.vjp(function, z)[1](ct))(z, ct)
        with jax.enable_x64(True):
            exact = np.asarray(jax.vjp(automatic(rule), z.astype("float64"))[1](ct.astype("float64"))[0])
        return np.abs(np.asarray(dz, np.float64) - exact).max() / np.abs(exact).max()

    assert error(rule) <= 1.1 * error(automatic(rule))


X = jax.ShapeDtypeStruct((4, 8, 8, 2), jnp.float32)
ROWS = jax.ShapeDtypeStruct((4, 6), jnp.float32)
LABELS = jax.ShapeDtypeStruct((4,), jnp.int32)
W = jax.ShapeDtypeStruct((6, 3), jnp.float32)
KERNEL = jax.ShapeDtypeStruct((3, 3, 2, 5), jnp.float32)
BIAS = jax.ShapeDtypeStruct((5,), jnp.float32)

RESIDUAL_BYTES = {
    "identity": (identity_fwd, (X,), 0),
    "linear": (linear_fwd, (ROWS, W, jax.ShapeDtypeStruct((3,), jnp.float32)), ROWS.size * 4 + W.size * 4),
    "flatten": (flatten_fwd, (X,), 0),
    "relu": (relu_fwd, (X,), X.size),
    "leaky_relu": (leaky_relu_fwd, (X,), X.size),
    "sigmoid": (sigmoid_fwd, (X,), X.size * 4),
    "tanh": (tanh_fwd, (X,), X.size * 4),
    "gelu": (gelu_fwd, (X,), X.size * 4),
    "silu": (silu_fwd, (X,), X.size * 4),
    "softplus": (softplus_fwd, (X,), X.size * 4),
    "softmax": (softmax_fwd, (ROWS,), ROWS.size * 4 + 4 * 4),
    "log_softmax": (log_softmax_fwd, (ROWS,), ROWS.size * 4 + 4 * 4),
    "softmax_cross_entropy": (softmax_cross_entropy_fwd, (ROWS, LABELS), ROWS.size * 4 + LABELS.size * 4 + 4 * 4),
    "squared_error": (squared_error_fwd, (ROWS, ROWS), ROWS.size * 4),
    "mean_squared_error": (mean_squared_error_fwd, (ROWS, ROWS), ROWS.size * 4),
    "conv2d": (conv2d_fwd, (X, KERNEL, BIAS), X.size * 4 + KERNEL.size * 4),
    "max_pool": (max_pool_fwd, (X,), X.size // 4),
    "avg_pool": (avg_pool_fwd, (X,), 0),
}


@pytest.mark.parametrize("name", [case.name for case in RULES])
def test_residuals_take_no_more_bytes_than_the_rule_says(name):
    fwd, arguments, expected = RESIDUAL_BYTES[name]
    _, residuals = jax.eval_shape(fwd, *arguments)
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(residuals)) == expected


def test_residuals_of_a_max_pool_whose_windows_share_elements_are_one_byte():
    _, residuals = jax.eval_shape(lambda x: max_pool_fwd(x, 3, 1, "SAME"), X)
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(residuals)) == X.size


def test_a_window_of_more_than_128_places_needs_two_bytes_for_the_winner():
    x = jnp.asarray(draw(0, 1, 12, 12, 1), jnp.float32)
    for window, dtype in ((11, jnp.int8), (12, jnp.int16)):
        _, residuals = max_pool_fwd(x, window)
        assert isinstance(residuals, Residuals)
        assert residuals.winner.dtype == dtype
    dx = jax.grad(lambda x: max_pool(x, 12).sum())(x)
    assert np.flatnonzero(dx).tolist() == [int(x.argmax())]
