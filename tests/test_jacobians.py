"""Each Jacobian is `jax.jacobian` of its primal, and contracted with a cotangent it is what the rule returns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop import jacobians
from jbackprop.layers.identity import identity_bwd, identity_fwd
from jbackprop.layers.linear import linear_bwd, linear_fwd
from jbackprop.layers.relu import relu_bwd, relu_fwd
from jbackprop.layers.sigmoid import sigmoid_bwd, sigmoid_fwd
from jbackprop.layers.softmax import softmax_bwd, softmax_fwd
from jbackprop.layers.softmax_cross_entropy import softmax_cross_entropy_bwd, softmax_cross_entropy_fwd


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32))


@functools.partial(jax.jit, static_argnames=("fwd", "bwd"))
def pulled_back(fwd, bwd, d_out, *args):
    """The cotangents that a rule returns."""
    return bwd(fwd(*args)[1], d_out)


def check(jacobian, primal, at):
    wanted = jax.jit(jax.jacobian(primal))(at)
    assert jacobian.shape == wanted.shape == (*jax.eval_shape(primal, at).shape, *at.shape)
    assert jacobian.dtype == at.dtype
    np.testing.assert_allclose(jacobian, wanted, rtol=1e-6, atol=1e-7)


def test_identity_1_matrix_times_vector_by_the_vector():
    w, x, dz = normal(4, 3), normal(3), normal(4, seed=1)
    jacobian = jacobians.matrix_vector_by_vector(w, x)
    check(jacobian, lambda x: w @ x, x)
    dx = pulled_back(linear_fwd, linear_bwd, dz, x, w.T)[0]
    np.testing.assert_allclose(jacobians.contract(jacobian, dz), dx, rtol=1e-6)


def test_identity_2_vector_times_matrix_by_the_vector():
    x, w, dz = normal(3), normal(3, 4), normal(4, seed=1)
    jacobian = jacobians.vector_matrix_by_vector(x, w)
    check(jacobian, lambda x: x @ w, x)
    dx = pulled_back(linear_fwd, linear_bwd, dz, x, w)[0]
    np.testing.assert_allclose(jacobians.contract(jacobian, dz), dx, rtol=1e-6)


def test_identity_3_a_vector_by_itself():
    x, dz = normal(3), normal(3, seed=1)
    jacobian = jacobians.identity_by_itself(x)
    check(jacobian, lambda x: x, x)
    np.testing.assert_array_equal(jacobians.contract(jacobian, dz), identity_bwd(identity_fwd(x)[1], dz)[0])


def test_identity_4_element_by_element():
    x, dz = normal(5), normal(5, seed=1)
    jacobian = jacobians.elementwise_by_vector(lambda x: jnp.exp(-x) / (1 + jnp.exp(-x)) ** 2, x)
    check(jacobian, jax.nn.sigmoid, x)
    found = jacobians.contract(jacobian, dz)
    np.testing.assert_allclose(found, pulled_back(sigmoid_fwd, sigmoid_bwd, dz, x)[0], rtol=1e-5)


def test_identity_5_matrix_times_vector_by_the_matrix():
    w, x, dz = normal(4, 3), normal(3), normal(4, seed=1)
    jacobian = jacobians.matrix_vector_by_matrix(w, x)
    check(jacobian, lambda w: w @ x, w)
    dw = pulled_back(linear_fwd, linear_bwd, dz, x, w.T)[1].T
    np.testing.assert_allclose(jacobians.contract(jacobian, dz), dw, rtol=1e-6)


def test_identity_6_vector_times_matrix_by_the_matrix():
    x, w, dz = normal(3), normal(3, 4), normal(4, seed=1)
    jacobian = jacobians.vector_matrix_by_matrix(x, w)
    check(jacobian, lambda w: x @ w, w)
    dw = pulled_back(linear_fwd, linear_bwd, dz, x, w)[1]
    np.testing.assert_allclose(jacobians.contract(jacobian, dz), dw, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_tensors_of_an_affine_layer_for_a_batch(n):
    """VANILLA's ∂z/∂a, ∂z/∂W and ∂z/∂b, for its batches of one and two and for more."""
    a, w, b, dz = normal(n, 3), normal(3, 2), normal(2), normal(n, 2, seed=1)
    tensors = [
        jacobians.linear_by_input(a, w),
        jacobians.linear_by_weight(a, w),
        jacobians.linear_by_bias(a, w),
    ]
    check(tensors[0], lambda a: a @ w + b, a)
    check(tensors[1], lambda w: a @ w + b, w)
    check(tensors[2], lambda b: a @ w + b, b)
    cotangents = pulled_back(linear_fwd, linear_bwd, dz, a, w, b)
    for tensor, cotangent in zip(tensors, cotangents, strict=True):
        assert cotangent is not None
        np.testing.assert_allclose(jacobians.contract(tensor, dz), cotangent, rtol=1e-5, atol=1e-6)


def test_the_tensors_have_the_entries_that_vanilla_writes_out():
    a, w = jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    dz1_dw, dz2_dw = jacobians.linear_by_weight(a, w)[0]
    assert dz1_dw.tolist() == [[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]
    assert dz2_dw.tolist() == [[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]
    dz1_da, dz2_da = jacobians.linear_by_input(a, w)[0, :, 0]
    assert dz1_da.tolist() == [1.0, 3.0, 5.0]
    assert dz2_da.tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize("at_zero", [0.0, 1.0])
def test_the_tensor_of_relu(at_zero):
    z, da = normal(2, 3), normal(2, 3, seed=1)
    check(jacobians.relu_by_input(z, at_zero), jax.nn.relu, z)
    z = z.at[1, 2].set(0.0)
    tensor = jacobians.relu_by_input(z, at_zero)
    assert tensor[1, 2, 1, 2] == at_zero
    dz = relu_bwd(at_zero, relu_fwd(z, at_zero)[1], da)[0]
    np.testing.assert_allclose(jacobians.contract(tensor, da), dz, rtol=1e-6)


def test_softmax_by_its_logits():
    z, dp = normal(5), normal(5, seed=1)
    p, residuals = softmax_fwd(z)
    jacobian = jacobians.softmax_by_logits(p)
    check(jacobian, jax.nn.softmax, z)
    dz = softmax_bwd(-1, residuals, dp)[0]
    np.testing.assert_allclose(jacobians.contract(jacobian, dp), dz, rtol=1e-5, atol=1e-7)


def test_the_chain_from_cross_entropy_through_softmax_is_p_minus_y():
    z, y = normal(5), jnp.array([0.0, 0.0, 1.0, 0.0, 0.0])
    p = jax.nn.softmax(z)
    dp = -y / p
    dz = jacobians.contract(jacobians.softmax_by_logits(p), dp)
    J, residuals = softmax_cross_entropy_fwd(z, y)
    np.testing.assert_allclose(dz, softmax_cross_entropy_bwd("mean", residuals, jnp.ones_like(J))[0], atol=1e-6)
