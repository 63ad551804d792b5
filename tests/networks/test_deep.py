"""DEEP's network: the recursion, what is stored, the two ways to run it, and the derivative at zero."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.networks import deep
from jbackprop.networks.activations import ACTIVATIONS

from .references import PLAIN
from .test_gradients_agree import assert_leaves_close, normal

WIDTHS = {"scan": (5, 5, 5, 5), "loop": (5, 3, 6, 4)}


def network(widths, dtype="float64", examples=4):
    params = jax.eval_shape(lambda: deep.init(jax.random.key(0), widths, dtype))
    return normal(0, (params, jax.ShapeDtypeStruct((examples, widths[0]), dtype)))


@pytest.mark.parametrize("widths", WIDTHS.values(), ids=WIDTHS)
def test_with_a_cotangent_of_one_backward_gives_the_derivatives_of_the_output(widths):
    """DEEP's ∂ŷ/∂W_t and ∂ŷ/∂α of one example, for every activation, read off z_t or recomputed from u_t."""

    def prediction(params, x, activation):
        for W in params["layers"]:
            x = PLAIN[activation](x @ W)
        return x @ params["alpha"]

    def explicit(params, x, activation):
        out, residuals = deep.forward(params, x, activation=activation)
        return out, deep.backward(params, residuals, jnp.ones_like(out), activation=activation), residuals.z_T

    with jax.enable_x64(True):
        params, x = network(widths)
        found = jax.jit(lambda p: {name: explicit(p, x[0], name) for name in PLAIN})(params)
        plain = jax.jit(lambda p: {name: jax.value_and_grad(prediction)(p, x[0], name) for name in PLAIN})(params)
        for name in ACTIVATIONS:
            out, grads, z_T = found[name]
            assert_leaves_close((out, grads), plain[name], 1e-13)
            assert_leaves_close(grads["alpha"], z_T, 1e-15)


def test_a_stack_and_a_list_of_equal_matrices_are_the_same_network():
    with jax.enable_x64(True):
        stacked, x = network((5, 5, 5, 5))
        listed = {"layers": list(map(jnp.asarray, np.asarray(stacked["layers"]))), "alpha": stacked["alpha"]}
        step = jax.jit(deep.loss_and_grads)
        loss, grads = step(stacked, x, jnp.ones(4))
        listed_loss, listed_grads = step(listed, x, jnp.ones(4))
        assert_leaves_close((listed_loss, np.stack(listed_grads["layers"])), (loss, grads["layers"]), 1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_only_the_z_are_stored(activation):
    """T inputs of layers and z_T, of n K numbers each, and nothing else."""
    params, x = network((5, 5, 5, 5), "float32")
    _, residuals = jax.eval_shape(functools.partial(deep.forward, activation=activation), params, x)
    assert [leaf.shape for leaf in jax.tree.leaves(residuals)] == [(3, 4, 5), (4, 5)]


def equations(jaxpr) -> int:
    inner = [getattr(value, "jaxpr", value) for eqn in jaxpr.eqns for value in eqn.params.values()]
    return len(jaxpr.eqns) + sum(equations(value) for value in inner if hasattr(value, "eqns"))


def test_the_program_does_not_grow_with_the_number_of_layers():
    def size(layers, stacked):
        params = jax.eval_shape(lambda: deep.init(jax.random.key(0), (8,) * (layers + 1)))
        if not stacked:
            params["layers"] = [jax.ShapeDtypeStruct((8, 8), jnp.float32)] * layers
        x, y = jax.ShapeDtypeStruct((4, 8), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.float32)
        return equations(jax.make_jaxpr(deep.loss_and_grads)(params, x, y).jaxpr)

    assert size(3, stacked=True) == size(64, stacked=True)
    assert size(3, stacked=False) < size(6, stacked=False)


@pytest.mark.parametrize("stacked", [True, False])
def test_the_derivative_at_zero_is_a_choice(stacked):
    """Where every u_t is exactly 0, DEEP's network passes the cotangent on, and the default does not."""

    def deep_relu(u):
        return jnp.where(u >= 0, u, 0.0)  # JAX differentiates this to DEEP's 1[u >= 0]

    layers = jnp.array([[[0.0, 0.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 2.0]]])
    params = {"layers": layers if stacked else list(layers), "alpha": jnp.array([1.0, 3.0])}
    x = jnp.array([1.0, 0.0])

    def prediction(params):
        z = x
        for W in params["layers"]:
            z = deep_relu(z @ W)
        return z @ params["alpha"]

    out, residuals = deep.forward(params, x, activation="relu_one_at_zero")
    grads = deep.backward(params, residuals, jnp.ones_like(out), activation="relu_one_at_zero")
    wanted = jax.grad(prediction)(params)
    np.testing.assert_array_equal(jnp.stack(list(grads["layers"])), jnp.stack(list(wanted["layers"])))
    assert jnp.abs(grads["layers"][0]).max() == 6.0  # x ⊗ W_2 α

    _, residuals = deep.forward(params, x)
    assert all((grad == 0).all() for grad in jax.tree.leaves(deep.backward(params, residuals, jnp.ones_like(out))))


@pytest.mark.parametrize(("W", "dtype"), [(-6e-7, "float16"), (-3e-38, "float32")])
@pytest.mark.parametrize("stacked", [True, False])
def test_leaky_relu_has_its_slope_where_its_output_underflows(W, dtype, stacked):
    """u < 0 is still a number of this dtype, slope * u is not: the sign is lost in z and not in u."""
    layers = jnp.full((1, 1, 1), W, dtype)
    params = {"layers": layers if stacked else list(layers), "alpha": jnp.ones(1, dtype)}
    x = y = jnp.ones((1, 1), dtype)
    _, grads = deep.loss_and_grads(params, x, y[0], activation="leaky_relu")

    def plain(layers):
        return ((jax.nn.leaky_relu(x @ layers[0], jnp.asarray(0.01, dtype))[:, 0] - y[0]) ** 2).mean()

    wanted = jax.grad(plain)(params["layers"])[0]
    np.testing.assert_allclose(np.float64(wanted), -0.02, rtol=1e-3)
    np.testing.assert_allclose(np.float64(grads["layers"][0]), np.float64(wanted), rtol=1e-3)


@pytest.mark.parametrize("container", [list, tuple])
def test_gradients_come_in_the_container_of_the_layers(container):
    params, x = network((5, 3, 4), "float32")
    params["layers"] = container(params["layers"])
    _, grads = deep.loss_and_grads(params, x, jnp.ones(4))
    assert jax.tree.structure(grads) == jax.tree.structure(params)


def test_nan_in_one_example_stays_in_that_example():
    params, x = network((5, 5, 5), "float32")
    x = np.asarray(x).copy()
    x[1, 0] = np.nan
    prediction, residuals = jax.jit(deep.forward)(params, jnp.asarray(x))
    assert np.isnan(prediction).tolist() == [False, True, False, False]
    grads = jax.jit(deep.backward)(params, residuals, jnp.ones(4))
    assert np.isnan(grads["layers"]).all()
    assert np.isnan(grads["alpha"]).all()
