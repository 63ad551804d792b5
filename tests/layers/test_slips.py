"""The slips of the sources in the rules, pinned: the literal expression fails, ours agrees with finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from jbackprop.layers.avg_pool import avg_pool
from jbackprop.layers.conv2d import conv2d, conv2d_bwd, conv2d_fwd
from jbackprop.layers.max_pool import max_pool


def finite_differences(f, x, ct, step=1e-5):
    """Central differences of the contraction of f with a cotangent, element by element."""
    gradient = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += step
        behind[index] -= step
        gradient[index] = np.sum((np.asarray(f(jnp.asarray(ahead))) - np.asarray(f(jnp.asarray(behind)))) * ct)
    return gradient / (2 * step)


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def spread_to_windows(z, window):
    return np.repeat(np.repeat(z, window, 0), window, 1)


def test_jacobian_average_pool_backward_holds_only_without_overlap():
    x = draw(0, 4, 4, 1)

    def literal(dz, window):
        return spread_to_windows(dz, window) / window**2

    dz = draw(1, 2, 2, 1)
    np.testing.assert_allclose(literal(dz, 2), finite_differences(avg_pool, x, dz), atol=1e-9)

    dz = draw(1, 3, 3, 1)  # windows of 2 at stride 1: nine of them over sixteen elements
    assert literal(dz, 2).shape != x.shape
    expected = finite_differences(lambda x: avg_pool(x, 2, 1), x, dz)
    (dx,) = jax.vjp(lambda x: avg_pool(x, 2, 1), jnp.asarray(x))[1](jnp.asarray(dz))
    np.testing.assert_allclose(dx, expected, atol=1e-9)
    one_window_an_element = np.pad(dz, ((0, 1), (0, 1), (0, 0)), mode="edge") / 4
    assert np.abs(one_window_an_element - expected).max() > 0.1


def test_jacobian_max_pool_backward_does_not_keep_the_sum_of_the_cotangent_at_a_tie():
    x, dz = np.array([[5.0, 5.0], [5.0, 1.0]])[:, :, None], np.ones((1, 1, 1))
    literal = np.where(x == spread_to_windows(np.asarray(max_pool(jnp.asarray(x))), 2), spread_to_windows(dz, 2), 0)
    assert literal.sum() == 3
    (dx,) = jax.vjp(max_pool, jnp.asarray(x))[1](jnp.asarray(dz))
    assert float(dx.sum()) == 1
    # moving all tied elements together moves the maximum by as much, not by three times as much
    together = (np.asarray(max_pool(jnp.asarray(x + 1e-6))) - np.asarray(max_pool(jnp.asarray(x - 1e-6)))).item() / 2e-6
    assert together == pytest.approx(float(dx.sum()), abs=1e-6)


def test_jacobian_max_pool_backward_shows_one_window_an_element():
    x, dz = np.array([[0.0, 7.0, 1.0]])[:, :, None], draw(0, 1, 2, 1)
    expected = finite_differences(lambda x: max_pool(x, (1, 2), 1), x, dz)
    (dx,) = jax.vjp(lambda x: max_pool(x, (1, 2), 1), jnp.asarray(x))[1](jnp.asarray(dz))
    np.testing.assert_allclose(dx, expected, atol=1e-9)
    for literal in dz.ravel():  # the cotangent of either window alone
        assert abs(literal - expected[0, 1, 0]) > 1e-3


def single_channel(x, k):
    return conv2d(x[:, :, None], k[:, :, None, None])[:, :, 0]


@pytest.mark.parametrize("sizes", [((5, 4), (3, 2)), ((4, 4), (2, 2))])
def test_the_two_stars_of_jacobian_are_different_operations(sizes):
    """Z = X ∗ K and dK = X ∗ δ are cross-correlations; dX = δ ∗ rot180(K) is one too, full, and as a convolution it
    would rotate twice."""
    x, k = draw(0, *sizes[0]), draw(1, *sizes[1])
    z = np.asarray(single_channel(jnp.asarray(x), jnp.asarray(k)))
    np.testing.assert_allclose(z, signal.correlate2d(x, k, "valid"), atol=1e-12)
    assert np.abs(z - signal.convolve2d(x, k, "valid")).max() > 0.1

    dz = draw(2, *z.shape)
    dx, dk = jax.vjp(single_channel, jnp.asarray(x), jnp.asarray(k))[1](jnp.asarray(dz))
    expected_dx = finite_differences(lambda x: single_channel(x, jnp.asarray(k)), x, dz)
    expected_dk = finite_differences(lambda k: single_channel(jnp.asarray(x), k), k, dz)
    np.testing.assert_allclose(dx, expected_dx, atol=1e-9)
    np.testing.assert_allclose(dk, expected_dk, atol=1e-9)

    np.testing.assert_allclose(dk, signal.correlate2d(x, dz, "valid"), atol=1e-12)
    assert np.abs(signal.convolve2d(x, dz, "valid") - expected_dk).max() > 0.1

    np.testing.assert_allclose(dx, signal.correlate2d(dz, np.rot90(k, 2), "full"), atol=1e-12)
    assert np.abs(signal.convolve2d(dz, np.rot90(k, 2), "full") - expected_dx).max() > 0.1


def test_the_textbook_convolution_is_the_rule_with_one_example_one_channel_and_no_options():
    x, k, dz = draw(0, 5, 4), draw(1, 3, 2), draw(2, 3, 3)
    z, residuals = conv2d_fwd(jnp.asarray(x)[:, :, None], jnp.asarray(k)[:, :, None, None])
    dx, dk, db = conv2d_bwd(1, "VALID", 1, 1, residuals, jnp.asarray(dz)[:, :, None])
    windows = np.lib.stride_tricks.sliding_window_view(x, k.shape)
    np.testing.assert_allclose(z[:, :, 0], np.einsum("uvpq,pq->uv", windows, k), atol=1e-12)
    np.testing.assert_allclose(
        dx[:, :, 0], finite_differences(lambda x: single_channel(x, jnp.asarray(k)), x, dz), atol=1e-9
    )
    np.testing.assert_allclose(
        dk[:, :, 0, 0], finite_differences(lambda k: single_channel(jnp.asarray(x), k), k, dz), atol=1e-9
    )
    assert db is None
