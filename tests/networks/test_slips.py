"""The slips of the sources about networks: taken literally they fail; corrected they agree with finite differences.

Each test is named in the derivation page of its network. Sizes differ, so that no slip passes by being square.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.layers.linear import linear
from jbackprop.networks import deep, regression, two_layer

STEP = 1e-5


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def slope(f, at):
    """Returns the central differences of a scalar function, in the shape of its argument."""
    steps = STEP * np.eye(at.size).reshape(at.size, *at.shape)
    differences = jax.jit(jax.vmap(lambda step: (f(at + step) - f(at - step)) / (2 * STEP)))(steps)
    return np.reshape(differences, at.shape)


def close(found, wanted):
    return found.shape == wanted.shape and np.abs(found - wanted).max() < 1e-8


def arrays(tree):
    return jax.tree.map(jnp.asarray, tree)


# TWO-LAYER: d = 5 inputs, h = 4 hidden units, k = 3 classes.


def two_layer_example():
    params = {"w1": normal(5, 4), "b1": normal(4), "w2": normal(4, 3), "b2": normal(3)}
    return arrays(params), arrays(normal(1, 5)), jnp.array([2])


@pytest.mark.usefixtures("as_users_see_it")
def test_two_layer_b2_has_k_entries_not_h():
    params, x, y = two_layer_example()
    with pytest.raises(ValueError, match=r"linear: b has shape \(4,\) but w \(4, 3\) gives outputs of shape \(3,\)"):
        two_layer.loss({**params, "b2": arrays(normal(4))}, x, y)
    grads = jax.jit(two_layer.loss_and_grads)(params, x, y)[1]
    wanted = slope(lambda b2: two_layer.loss({**params, "b2": b2}, x, y), params["b2"])
    assert close(grads["b2"], wanted)


def test_two_layer_the_factor_of_da1_is_the_transpose_of_w2():
    """`∂z2/∂a1 = W2 ∈ R^{k×h}` is claimed of a `W2 ∈ R^{h×k}`."""
    params, x, _ = jax.tree.map(np.asarray, two_layer_example())
    w2, b2 = params["w2"], params["b2"]
    a1 = sigmoid(x @ params["w1"] + params["b1"])

    def J(a1):
        return -jax.nn.log_softmax(a1 @ w2 + b2)[0, 2]

    p = np.exp(a1 @ w2 + b2)
    dz2 = p / p.sum() - np.eye(3)[[2]]
    wanted = slope(J, a1)
    with pytest.raises(ValueError, match="matmul"):
        np.matmul(dz2, w2)
    assert close(dz2 @ w2.T, wanted)
    jacobian = jax.jit(jax.jacobian(lambda a1: linear(a1, *arrays((w2, b2)))))(jnp.asarray(a1[0]))
    assert jacobian.shape == (3, 4) != w2.shape
    np.testing.assert_array_equal(jacobian, w2.T)

    square = normal(4, 4)
    wanted = slope(lambda a1: (a1 @ square)[0, 1], a1)
    dz = np.array([[0.0, 1.0, 0.0, 0.0]])
    assert not close(dz @ square, wanted), "with h = k the slip has the right shape and the wrong value"
    assert close(dz @ square.T, wanted)


# REGRESSION: N = 4 samples, 3 inputs, 2 hidden units, one output.


def stacked_example(n=4):
    params = {"w1": normal(3, 2), "b1": normal(2), "w2": normal(2, 1), "b2": normal(1)}
    return params, normal(n, 3), normal(n, 1, seed=1)


def stacked_parts(params, x, y):
    h = x @ params["w1"] + params["b1"]
    s = sigmoid(h)
    return s, -2 / len(x) * (y - (s @ params["w2"] + params["b2"]))


def stacked_slope(name, params, x, y, hidden="sigmoid"):
    params, x, y = arrays((params, x, y))
    return slope(lambda p: regression.loss({**params, name: p}, x, y, hidden=hidden), np.asarray(params[name]))


def explicit(params, x, y, **options):
    return jax.jit(functools.partial(regression.loss_and_grads, **options))(params, x, y)[1]


def test_regression_the_last_display_is_db1_not_db2():
    params, x, y = stacked_example()
    s, dyhat = stacked_parts(params, x, y)
    display = ((dyhat @ params["w2"].T) * s * (1 - s)).sum(0)
    assert display.shape != params["b2"].shape
    assert close(display, stacked_slope("b1", params, x, y))
    assert close(dyhat.sum(0), stacked_slope("b2", params, x, y))
    assert close(explicit(params, x, y, hidden="sigmoid")["b1"], display)


def test_regression_the_final_dw1_multiplies_element_by_element_and_in_another_order():
    params, x, y = stacked_example()
    s, dyhat = stacked_parts(params, x, y)
    product = x.T @ dyhat @ params["w2"].T
    with pytest.raises(ValueError, match="matmul"):
        np.matmul(product, s * (1 - s))  # a matrix product, as it is printed
    with pytest.raises(ValueError, match="could not be broadcast"):
        np.multiply(product, s * (1 - s))  # element by element, but in the order that is printed
    wanted = stacked_slope("w1", params, x, y)
    assert close(x.T @ ((dyhat @ params["w2"].T) * s * (1 - s)), wanted)
    assert close(explicit(params, x, y, hidden="sigmoid")["w1"], wanted)


def test_regression_with_as_many_samples_as_inputs_the_order_is_wrong_in_value():
    params, x, y = stacked_example(n=3)
    s, dyhat = stacked_parts(params, x, y)
    literal = (x.T @ dyhat @ params["w2"].T) * (s * (1 - s))
    wanted = stacked_slope("w1", params, x, y)
    assert literal.shape == wanted.shape
    assert not close(literal, wanted)
    assert close(x.T @ ((dyhat @ params["w2"].T) * s * (1 - s)), wanted)


def test_regression_the_second_sample_meets_w2_and_not_w1():
    """`dŷ/dH` has the row of w(2) for each sample; the source prints w(1) in the second."""
    params, x, y = stacked_example(n=2)
    h = x @ params["w1"] + params["b1"]
    prediction = h @ params["w2"] + params["b2"]
    dyhat = -2 / 2 * (y - prediction)
    wanted = slope(lambda h: ((y - (h @ params["w2"] + params["b2"])) ** 2).mean(), h)
    row2, row1 = params["w2"][:, 0], params["w1"][0]
    assert not close(dyhat * np.stack([row2, row1]), wanted)
    with pytest.raises(ValueError, match="matmul"):
        np.matmul(dyhat, np.stack([row2, row1]))  # (2, 1) times (2, 2), as it is printed
    assert close(dyhat * np.stack([row2, row2]), wanted)
    assert close(dyhat @ params["w2"].T, wanted)


def test_regression_dl_by_dh_is_not_dyhat_by_dh():
    params, x, y = stacked_example(n=2)
    h = x @ params["w1"] + params["b1"]
    dyhat = -2 / 2 * (y - (h @ params["w2"] + params["b2"]))
    printed_left = slope(lambda h: (h @ params["w2"] + params["b2"]).sum(), h)
    printed_right = slope(lambda h: ((y - (h @ params["w2"] + params["b2"])) ** 2).mean(), h)
    assert not close(printed_left, printed_right)
    assert close(dyhat * printed_left, printed_right)


def test_regression_a_column_is_not_transposed_again():
    """`dL/dw = x̄ᵀ dL/dŷ` is printed with x̄ already written as a column."""
    w, b, x, y = normal(3, 1), normal(1), normal(1, 3), normal(1, 1, seed=1)
    dyhat = -2 * (y - (x @ w + b))
    column = x.T
    wanted = slope(lambda w: regression.loss({"w": w, "b": jnp.asarray(b)}, jnp.asarray(x), jnp.asarray(y)), w)
    assert (column.T * dyhat).shape == (1, 3) != wanted.shape
    assert close(x.T @ dyhat, wanted)
    assert close(explicit({"w": w, "b": b}, x, y)["w"], wanted)


# DEEP: K = 4, d = 3.


@jax.jit
def derivatives(params, x):
    """DEEP's ∂ŷ/∂W_t and ∂ŷ/∂α of one example, and z_T."""
    out, residuals = deep.forward(params, x, activation="tanh")
    return deep.backward(params, residuals, jnp.ones_like(out), activation="tanh"), residuals.z_T


def output(params, x):
    return deep.forward(params, x, activation="tanh")[0]


def test_deep_the_derivative_by_alpha_is_z_t():
    """DEEP sets out to find ∂ŷ/∂α and stops at ∂ŷ/∂z_T = α, which is something else."""
    params, x = arrays(({"layers": normal(2, 4, 4), "alpha": normal(4)}, normal(4)))
    grads, z_T = derivatives(params, x)
    wanted = slope(lambda alpha: output({**params, "alpha": alpha}, x), np.asarray(params["alpha"]))
    assert not close(np.asarray(params["alpha"]), wanted)
    assert close(z_T, wanted)
    assert close(grads["alpha"], wanted)


@pytest.mark.usefixtures("as_users_see_it")
def test_deep_an_input_of_d_numbers_does_not_fit_k_by_k_matrices():
    params, x = arrays(({"layers": normal(2, 4, 4), "alpha": normal(4)}, normal(3)))
    with pytest.raises(ValueError, match="linear: x has 3 features but w expects 4"):
        deep.forward(params, x)
    first, second = arrays([normal(3, 4), normal(4, 4)])
    params["layers"] = [first, second]
    grads, _ = derivatives(params, x)
    wanted = slope(lambda W: output({**params, "layers": [W, second]}, x), np.asarray(first))
    assert close(grads["layers"][0], wanted)
