"""The explicit backward pass of each cost against JAX's own derivative of the cost, at any cotangent."""

from functools import partial

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop import automatic
from jbackprop.networks import cnn, mlp, two_layer
from jbackprop.networks.costs import COSTS, one_hot, widened

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


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8])
@pytest.mark.parametrize("name", COSTS)
def test_a_label_that_is_no_class_is_nan_in_the_loss_and_in_the_gradient_of_its_row(name, dtype):
    no_classes = [3, 255] if dtype == jnp.uint8 else [3, -1]
    z, labels = outputs(jnp.float32), jnp.array([2, no_classes[0], 1, no_classes[1], 0], dtype)
    J, residuals = COSTS[name].fwd(z, labels)
    dz, _dlabels = COSTS[name].bwd(residuals, jnp.ones_like(J))
    value, by_rules = jax.value_and_grad(COSTS[name].f)(z, labels)
    _, of_classes = jax.value_and_grad(COSTS[name].f)(z, jnp.array([2, 0, 1, 0, 0]))
    assert np.isnan([J, value]).all()
    for found in (dz, by_rules):
        assert np.isnan(found[jnp.array([1, 3])]).all()
        np.testing.assert_allclose(found[::2], of_classes[::2], rtol=1e-6)


@pytest.mark.parametrize("name", COSTS)
def test_more_classes_than_the_labels_dtype_has_numbers(name):
    z, labels = jax.random.normal(jax.random.key(0), (2, 300)), jnp.array([0, 255])
    assert COSTS[name].f(z, labels.astype(jnp.uint8)) == COSTS[name].f(z, labels)
    assert one_hot(labels.astype(jnp.uint8), 300, jnp.int32).sum() == 2


FURTHER = ("quadratic", "sigmoid_cross_entropy")
REFUSED = [
    (
        jnp.zeros((2, 3)),
        jnp.zeros((2, 3)),
        TypeError,
        r"labels are float32, not class indices \(z .2, 3., labels .2, 3.\)",
    ),
    (jnp.zeros((2, 3)), jnp.zeros(2, bool), TypeError, r"labels are bool, not class indices"),
    (
        jnp.zeros((2, 3)),
        jnp.zeros((2, 1), int),
        ValueError,
        r"shape \(2,\) \(z \(2, 3\), labels \(2, 1\)\): squeeze them",
    ),
    (jnp.zeros((4, 2, 3)), jnp.zeros((4, 2), int), ValueError, r"z needs the shape \(rows, classes\).*z\.reshape"),
    (jnp.zeros((2, 0)), jnp.zeros(2, int), ValueError, r"at least one class \(z \(2, 0\), labels \(2,\)\)"),
    (jnp.zeros((0, 3)), jnp.zeros(0, int), ValueError, r"the mean of an empty batch \(z \(0, 3\), labels \(0,\)\)"),
    (jnp.zeros((2, 3), int), jnp.zeros(2, int), TypeError, r"z is int32, not a real floating dtype"),
    (jnp.zeros((2, 3)), [0, 1], TypeError, r"labels is a list: give an array, jnp\.asarray\(labels\)"),
]


@pytest.mark.parametrize(("z", "labels", "error", "words"), REFUSED)
@pytest.mark.parametrize("name", FURTHER)
@pytest.mark.usefixtures("as_users_see_it")
def test_what_is_no_batch_of_outputs_and_class_indices_is_refused(name, z, labels, error, words):
    for function in (COSTS[name].f, COSTS[name].fwd):
        with pytest.raises(error, match=f"^{name}: .*{words}"):
            function(z, labels)


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.usefixtures("as_users_see_it")  # the batch size is no int while it is traced
def test_a_cost_is_traced_for_a_batch_of_any_size(name):
    def both_passes(z, labels):
        J, residuals = COSTS[name].fwd(z, labels)
        return J, COSTS[name].bwd(residuals, jnp.ones_like(J))[0], jax.grad(COSTS[name].f)(z, labels)

    (n,) = jax.export.symbolic_shape("n")
    of_any_size = jax.ShapeDtypeStruct((n, 3), jnp.float32), jax.ShapeDtypeStruct((n,), jnp.int32)
    J, dz, by_rules = jax.eval_shape(both_passes, *of_any_size)
    assert (J.shape, dz.shape, by_rules.shape) == ((), (n, 3), (n, 3))
