"""The explicit backward pass of each cost against JAX's own derivative of the cost, at any cotangent."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop import automatic
from jbackprop.networks import cnn, mlp, two_layer
from jbackprop.networks.costs import COSTS, widened

X, Y = jax.random.normal(jax.random.key(1), (5, 4)), jnp.array([2, 0, 1, 2, 0])


@pytest.mark.parametrize(
    ("name", "of_equal_outputs"),
    [("cross_entropy", np.log(3)), ("quadratic", 3 / 8), ("sigmoid_cross_entropy", 3 * np.log(2))],
)
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint8])
def test_the_cost_of_that_name(name, of_equal_outputs, dtype):
    np.testing.assert_allclose(COSTS[name].f(jnp.zeros((5, 3)), Y.astype(dtype)), of_equal_outputs, rtol=1e-6)


@pytest.mark.parametrize("name", COSTS)
def test_a_network_is_trained_by_the_cost_that_it_is_given(name):
    sizes = cnn.Sizes((6, 6, 1), (cnn.Block(features=2, kernel=3),), dense=(3,), pool="avg")
    images = jax.random.normal(jax.random.key(1), (5, 6, 6, 1))
    for network, x, given in ((two_layer, X, {}), (mlp, X, {}), (cnn, images, {"sizes": sizes})):
        params = network.init(jax.random.key(2), *(given.values() or ((4, 6, 3),)))
        arguments = {"cost": COSTS[name], **given}
        J, grads = network.loss_and_grads(params, x, Y, **arguments)
        loss, by_rules = jax.value_and_grad(network.loss)(params, x, Y, **arguments)
        np.testing.assert_allclose(J, COSTS[name].f(network.forward(params, x, **given)[0], Y), rtol=1e-6)
        np.testing.assert_allclose(J, loss, rtol=1e-6)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), grads, by_rules)


def outputs(dtype):
    return jax.random.normal(jax.random.key(0), (5, 3), jnp.float32).astype(dtype)


def both(cost, z, dJ):
    """The value and cotangent of the explicit pair, and those of JAX."""
    J, residuals = cost.fwd(z, Y)
    dz, dlabels = cost.bwd(residuals, dJ)
    assert dlabels is None
    value, vjp = jax.vjp(automatic(lambda z: cost.f(z, Y)), z)
    return (J, dz), (value, *vjp(dJ))


@pytest.mark.parametrize("name", COSTS)
def test_the_explicit_pair_is_the_cost_and_its_derivative(name):
    with jax.enable_x64(True):
        (J, dz), (value, expected) = both(COSTS[name], outputs(jnp.float64), jnp.asarray(-1.7))
    np.testing.assert_allclose(J, value, rtol=1e-14)
    np.testing.assert_allclose(dz, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", COSTS)
def test_a_widened_cost_is_computed_in_float32_and_its_cotangent_is_not(name):
    z = outputs(jnp.bfloat16)
    (J, dz), (value, expected) = both(widened(COSTS[name]), z, jnp.asarray(-1.7, jnp.float32))
    assert J.dtype == value.dtype == jnp.float32
    assert dz.dtype == expected.dtype == jnp.bfloat16
    (J32, dz32), _ = both(COSTS[name], z.astype(jnp.float32), jnp.asarray(-1.7, jnp.float32))
    np.testing.assert_array_equal(J, J32)
    np.testing.assert_array_equal(dz, dz32.astype(jnp.bfloat16))
