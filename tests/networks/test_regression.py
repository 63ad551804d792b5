"""One sample, a batch, and targets of the wrong shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.networks import regression, two_layer

from .test_gradients_agree import assert_leaves_close, normal


@pytest.mark.parametrize("widths", [(3, 1), (3, 2, 1)])
def test_the_gradient_of_a_batch_is_the_mean_of_those_of_its_samples(widths):
    """REGRESSION's two losses: (y - ŷ)² of one sample, and its mean over N."""
    shapes = jax.eval_shape(lambda: (regression.init(jax.random.key(0), widths), jnp.ones((5, 3)), jnp.ones((5, 1))))
    params, x, y = normal(0, shapes)
    step = jax.jit(functools.partial(regression.loss_and_grads, hidden="sigmoid"))
    each = [step(params, x[n], y[n]) for n in range(5)]
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, 0), *each)
    assert_leaves_close(step(params, x, y), mean, 1e-6)


@pytest.mark.parametrize("loss", [regression.loss, regression.loss_and_grads])
def test_one_prediction_is_a_scalar_loss_whatever_its_shape(loss):
    params = jax.eval_shape(lambda: regression.init(jax.random.key(0), (3, 1)))
    for leading in ((), (1,), (1, 1)):
        out = jax.eval_shape(loss, params, jnp.ones((*leading, 3)), jnp.ones((*leading, 1)))
        assert jax.tree.leaves(out)[0].shape == ()


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("function", ["loss", "loss_and_grads"])
def test_what_does_not_fit_meets_the_words_of_the_layer(function):
    params = regression.init(jax.random.key(0), (3, 1))
    with pytest.raises(ValueError, match=r"mean_squared_error: .*\(5, 1\).*\(5,\)"):
        getattr(regression, function)(params, jnp.ones((5, 3)), jnp.ones(5))
    with pytest.raises(ValueError, match="linear: x has 4 features but w expects 3"):
        getattr(regression, function)(params, jnp.ones((5, 4)), jnp.ones((5, 1)))
    classifier = two_layer.init(jax.random.key(0), (3, 3, 3))
    with pytest.raises(ValueError, match=r"softmax_cross_entropy: integer labels need one class index a row"):
        getattr(two_layer, function)(classifier, jnp.ones((5, 3)), jnp.zeros((5, 1), int))
