"""Optimisers, learning rates and clipping against optax put together by hand, or against their formula."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jbackprop.training import optimizer
from jbackprop.training.config import ConfigError, Optimizer
from jbackprop.training.weights import are_weights

PARAMS = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([1.0, -1.0])}
GRADS = [{"w": jnp.full((2, 2), 0.3 * n), "b": jnp.array([0.1, -0.2 * n])} for n in (1, 2, 3)]


def trained(tx: optax.GradientTransformation) -> Any:
    params: Any = PARAMS
    opt_state = tx.init(params)
    with jax.numpy_dtype_promotion("standard"):  # as training/step.py does
        for grads in GRADS:
            updates, opt_state = tx.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
    return params


def assert_same(found, wanted):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), found, wanted)


@pytest.mark.parametrize(
    ("config", "by_hand"),
    [
        (Optimizer(name="sgd", learning_rate=0.2), optax.sgd(0.2)),
        (Optimizer(name="momentum", learning_rate=0.2, momentum=0.5), optax.sgd(0.2, momentum=0.5)),
        (Optimizer(name="momentum", learning_rate=0.2), optax.sgd(0.2, momentum=0.9)),
        (Optimizer(name="adam", learning_rate=0.2), optax.adam(0.2)),
    ],
)
def test_each_name_is_optax_of_that_name(config, by_hand):
    assert_same(trained(optimizer.build(config)), trained(by_hand))


def test_weight_decay_takes_from_weights_and_not_from_biases():
    decaying = trained(optimizer.build(Optimizer(name="adamw", learning_rate=0.2, weight_decay=0.3)))
    assert_same(decaying["w"], trained(optax.adamw(0.2, weight_decay=0.3))["w"])
    assert_same(decaying["b"], trained(optax.adam(0.2))["b"])
    assert np.abs(decaying["w"] - trained(optax.adam(0.2))["w"]).min() > 1e-3


def test_are_weights_by_name():
    two_layer = {"w1": 0, "b1": 0, "w2": 0, "b2": 0}
    assert are_weights(two_layer) == {"w1": True, "b1": False, "w2": True, "b2": False}
    assert are_weights({"conv": [{"w": 0, "b": 0}], "dense": []}) == {"conv": [{"w": True, "b": False}], "dense": []}


def test_clipping_scales_the_whole_gradient_down_to_the_norm():
    step = optimizer.build(Optimizer(name="sgd", learning_rate=1.0, clip_norm=0.5))
    for grads in GRADS:
        updates, _ = step.update(grads, step.init(PARAMS), PARAMS)
        norm = float(jnp.sqrt(jnp.sum(grads["w"] ** 2) + jnp.sum(grads["b"] ** 2)))
        assert_same(updates, jax.tree.map(lambda g, norm=norm: -g * min(1.0, 0.5 / norm), grads))


def rates(config: Optimizer, steps: range) -> list[float]:
    rate = optimizer.learning_rate(config, steps_an_epoch=10, epochs=6)
    assert callable(rate)
    return [np.asarray(rate(step)).item() for step in steps]


def cosine(step: float, first: float, last: float, high: float, low: float) -> float:
    return low + (high - low) * (1 + np.cos(np.pi * min((step - first) / (last - first), 1))) / 2


@pytest.mark.parametrize(
    ("in_epochs", "in_steps"),
    [({"warmup": 2.0, "decay_over": 5.0}, {"warmup": 20.0, "decay_over": 50.0}), ({"warmup": 0.5}, {"warmup": 5.0})],
)
def test_warm_up_and_cosine(in_epochs, in_steps):
    common = {"learning_rate": 0.4, "schedule": "cosine", "decay_to": 0.25}
    found = rates(Optimizer(**common, **in_epochs), range(60))
    assert found == rates(Optimizer(**common, **in_steps, unit="steps"), range(60))
    warm, last = in_steps["warmup"], in_steps.get("decay_over", 60.0)
    wanted = [0.4 * step / warm if step < warm else cosine(step, warm, last, 0.4, 0.1) for step in range(60)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_without_warm_up_the_first_step_is_the_largest():
    found = rates(Optimizer(learning_rate=0.4, schedule="cosine"), range(61))
    np.testing.assert_allclose(found, [cosine(step, 0, 60, 0.4, 0) for step in range(61)], rtol=1e-5, atol=1e-7)


def test_warm_up_alone_ends_at_the_learning_rate():
    found = rates(Optimizer(learning_rate=0.4, warmup=4, unit="steps"), range(7))
    np.testing.assert_allclose(found, [0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4], rtol=1e-6)
    assert optimizer.learning_rate(Optimizer(learning_rate=0.4), 10, 6) == 0.4


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_warm_up_as_long_as_the_run_is_refused(schedule):
    with pytest.raises(ConfigError, match=r"optimizer\.warmup: 60 steps are not less than the 60 in all") as error:
        optimizer.build(Optimizer(schedule=schedule, warmup=6), steps_an_epoch=10, epochs=6)
    assert error.value.key == "optimizer.warmup"
