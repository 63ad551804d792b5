"""Hypothesis draws shapes and options; the rules must do what XLA's own window operations and their derivatives do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jbackprop.layers.avg_pool import avg_pool
from jbackprop.layers.conv2d import conv2d
from jbackprop.layers.max_pool import max_pool

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))
PADS = st.one_of(
    st.sampled_from(["VALID", "SAME"]),
    st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
)
SIZES = st.tuples(st.integers(1, 8), st.integers(1, 8))
WITHOUT_DEADLINE = settings(deadline=None, max_examples=20, derandomize=True)


def assert_same_value_and_cotangents(ours, reference, *args):
    with jax.enable_x64(True):
        args = [jnp.asarray(a, jnp.float64) for a in args]
        shape = jax.eval_shape(reference, *args).shape
        ct = jnp.asarray(np.random.default_rng(0).standard_normal(shape))

        @jax.jit
        def both(*args):
            value, vjp = jax.vjp(ours, *args)
            expected, expected_vjp = jax.vjp(reference, *args)
            return (value, *vjp(ct)), (expected, *expected_vjp(ct))

        for a, b in zip(*both(*args), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * (1 + np.abs(b).max(initial=0)))


def reduce_window(init, combine, window, stride, padding):
    pads = padding if isinstance(padding, str) else ((0, 0), *padding, (0, 0))
    return lambda x: jax.lax.reduce_window(x, init, combine, (1, *window, 1), (1, *stride, 1), pads)


def every_window_has_an_element(sizes, window, stride, padding):
    """Whether XLA's own padding leaves no window without an element, and at least one window."""
    for i in range(2):
        pads = jax.lax.padtype_to_pads(sizes, window, stride, padding)[i] if isinstance(padding, str) else padding[i]
        starts = np.arange(-pads[0], sizes[i] + pads[1] - window[i] + 1, stride[i])
        if not starts.size or starts[0] + window[i] <= 0 or starts[-1] >= sizes[i]:
            return False
    return True


@WITHOUT_DEADLINE
@given(
    sizes=SIZES,
    kernel=PAIRS,
    stride=PAIRS,
    dilation=PAIRS,
    padding=PADS,
    groups=st.integers(1, 2),
    seed=st.integers(0, 9),
)
def test_conv2d(sizes, kernel, stride, dilation, padding, groups, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, *sizes, 2 * groups))
    w, b = rng.standard_normal((*kernel, 2, 3 * groups)), rng.standard_normal(3 * groups)
    pads = ((0, 0), (0, 0)) if padding == "VALID" else padding
    if padding != "SAME":
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        assume(all(s + sum(p) >= r for s, p, r in zip(sizes, pads, reach, strict=True)))

    def reference(x, w, b):
        y = jax.lax.conv_general_dilated(
            x, w, stride, padding, rhs_dilation=dilation, dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )  # fmt: skip
        return y + b

    assert_same_value_and_cotangents(
        lambda x, w, b: conv2d(x, w, b, stride, padding, dilation, groups), reference, x, w, b
    )


@pytest.mark.parametrize("window", [(2, 2), (3, 3), (2, 3)])
def test_a_NaN_wins_every_window_of_a_max_pool_in_which_it_is_the_first(window):
    x = np.random.default_rng(0).standard_normal((6, 7, 1)).astype(np.float32)
    x[2, 3] = x[2, 4] = x[4, 1] = np.nan
    expected = np.zeros_like(x)
    for u in range(6 - window[0] + 1):
        for v in range(7 - window[1] + 1):
            part = x[u : u + window[0], v : v + window[1], 0]
            i, j = np.unravel_index(np.argmax(part), part.shape)  # NumPy's argmax takes the first NaN
            expected[u + i, v + j] += np.nan if np.isnan(part[i, j]) else 1
    dx = jax.grad(lambda x: max_pool(x, window, 1).sum())(jnp.asarray(x))
    np.testing.assert_array_equal(dx, expected)


@WITHOUT_DEADLINE
@given(sizes=SIZES, window=PAIRS, stride=PAIRS, padding=PADS, seed=st.integers(0, 9))
def test_max_pool(sizes, window, stride, padding, seed):
    assume(every_window_has_an_element(sizes, window, stride, padding))
    x = np.random.default_rng(seed).permutation(4 * sizes[0] * sizes[1]).reshape(2, *sizes, 2)
    reference = reduce_window(-jnp.inf, jax.lax.max, window, stride, padding)
    assert_same_value_and_cotangents(lambda x: max_pool(x, window, stride, padding), reference, x)


@WITHOUT_DEADLINE
@given(sizes=SIZES, window=PAIRS, stride=PAIRS, padding=PADS, values=st.integers(1, 3), seed=st.integers(0, 9))
def test_max_pool_keeps_the_sum_of_the_cotangent_at_ties(sizes, window, stride, padding, values, seed):
    assume(every_window_has_an_element(sizes, window, stride, padding))
    x = jnp.asarray(np.random.default_rng(seed).integers(0, values, (2, *sizes, 2)), jnp.float32)
    of_xla = reduce_window(-jnp.inf, jax.lax.max, window, stride, padding)
    windows = jax.eval_shape(of_xla, x).size
    dx, expected = jax.jit(
        lambda x: (
            jax.grad(lambda x: max_pool(x, window, stride, padding).sum())(x),
            jax.grad(lambda x: of_xla(x).sum())(x),
        )
    )(x)
    assert float(dx.sum()) == windows
    np.testing.assert_array_equal(dx, expected)  # XLA, too, takes the first in row-major order


@WITHOUT_DEADLINE
@given(sizes=SIZES, window=PAIRS, stride=PAIRS, padding=PADS, seed=st.integers(0, 9))
def test_avg_pool(sizes, window, stride, padding, seed):
    assume(every_window_has_an_element(sizes, window, stride, padding))
    x = np.random.default_rng(seed).standard_normal((2, *sizes, 2))
    sums = reduce_window(0.0, jax.lax.add, window, stride, padding)
    assert_same_value_and_cotangents(
        lambda x: avg_pool(x, window, stride, padding), lambda x: sums(x) / sums(jnp.ones_like(x)), x
    )


@pytest.mark.parametrize("window", [(1, 128), (128, 1), (2, 128)])
def test_a_window_of_as_many_places_as_a_byte_counts(window):
    x = jnp.zeros((1, *window, 1)).at[0, -1, -1, 0].set(1)
    value, vjp = jax.vjp(lambda x: max_pool(x, window), x)
    assert value.item() == 1
    np.testing.assert_array_equal(vjp(jnp.ones((1, 1, 1, 1)))[0], x)
