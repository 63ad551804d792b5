"""Any depth and activation, and the special cases that other modules spell out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.networks import mlp, two_layer
from jbackprop.networks.activations import ACTIVATIONS

from .references import PLAIN, cross_entropy, mlp_logits
from .test_gradients_agree import assert_leaves_close, normal


def network(widths, dtype):
    shapes = jax.eval_shape(lambda: mlp.init(jax.random.key(0), widths, dtype))
    params, x = normal(0, (shapes, jax.ShapeDtypeStruct((6, widths[0]), dtype)))
    return params, x, jnp.arange(6) % widths[-1]


@pytest.mark.parametrize("widths", [(4, 3), (4, 5, 6, 3)], ids=["one layer", "three layers"])
def test_any_depth_and_activation(widths):
    """The loss, its gradients, and the cotangent of the input, against plain JAX."""

    def explicit(params, x, y, activation):
        logits, residuals = mlp.forward(params, x, activation=activation)
        loss, grads = mlp.loss_and_grads(params, x, y, activation=activation)
        return loss, grads, logits, mlp.backward_to_input(residuals, jnp.ones_like(logits), activation=activation)[1]

    def plain(params, x, y, activation):
        logits = functools.partial(mlp_logits, sigma=PLAIN[activation])
        loss, grads = jax.value_and_grad(lambda params: cross_entropy(logits(params, x), y))(params)
        return loss, grads, logits(params, x), jax.grad(lambda x: logits(params, x).sum())(x)

    with jax.enable_x64(True):
        params, x, y = network(widths, "float64")
        found = jax.jit(lambda params: {name: explicit(params, x, y, name) for name in PLAIN})(params)
        wanted = jax.jit(lambda params: {name: plain(params, x, y, name) for name in PLAIN})(params)
        for name in ACTIVATIONS:
            assert_leaves_close(found[name], wanted[name], 1e-13)


def test_one_hidden_sigmoid_layer_is_the_two_layer_network():
    params, x, y = network((4, 5, 3), "float32")
    first, second = params
    named = {"w1": first["w"], "b1": first["b"], "w2": second["w"], "b2": second["b"]}
    loss, (dfirst, dsecond) = mlp.loss_and_grads(params, x, y, activation="sigmoid")
    found = loss, {"w1": dfirst["w"], "b1": dfirst["b"], "w2": dsecond["w"], "b2": dsecond["b"]}
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(two_layer.loss_and_grads(named, x, y)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_labels_may_be_probabilities():
    params, x, y = network((4, 5, 3), "float32")
    probabilities = jax.nn.one_hot(y, 3, dtype=jnp.float32)
    assert_leaves_close(mlp.loss_and_grads(params, x, probabilities), mlp.loss_and_grads(params, x, y), 1e-6)


def test_an_unknown_activation_is_refused(as_users_see_it):
    with pytest.raises(ValueError, match=r"activation: 'swish' is unknown: choose one of identity, relu, "):
        mlp.init(jax.random.key(0), (4, 5, 3), activation="swish")
