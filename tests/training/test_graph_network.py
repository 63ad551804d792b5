"""The residual perceptron: a graph of rules that is trained from a configuration as the other networks are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.networks.costs import COSTS
from jbackprop.training import config as configs
from jbackprop.training import model as models
from jbackprop.training.config import Config, ConfigError, Network, Optimizer
from jbackprop.training.interrupt import never
from jbackprop.training.residual import residual
from jbackprop.verify.gradients import compare_gradients

GRAPH = Network(name="graph", hidden=(12, 12, 12))


def test_each_hidden_layer_adds_to_what_it_reads(small):
    model = models.build(GRAPH, small)
    params, x = model.init(jax.random.key(0)), model.prepare(small.test.images)
    assert {name: leaf.shape for name, leaf in params.items() if name[0] == "w"} == {
        "w1": (64, 12),
        "w2": (12, 12),
        "w3": (12, 12),
        "w4": (12, 10),
    }
    z = jnp.maximum(x @ params["w1"] + params["b1"], 0)
    for t in (2, 3):
        z = z + jnp.maximum(z @ params[f"w{t}"] + params[f"b{t}"], 0)
    np.testing.assert_allclose(model.logits(params, x), z @ params["w4"] + params["b4"], rtol=1e-5, atol=1e-6)


def test_its_three_gradients_agree(small):
    model = models.build(GRAPH, small)
    x, y = model.prepare(small.train.images[:16]), small.train.labels[:16]
    assert compare_gradients(model.loss, model.loss_and_grads, model.init(jax.random.key(1)), x, y).agree


@pytest.mark.parametrize("cost", COSTS)
def test_its_loss_is_the_mean_of_the_configured_cost(small, cost):
    model = models.build(Network(name="graph", hidden=(12, 12, 12), cost=cost), small)
    x, y = model.prepare(small.train.images[:16]), small.train.labels[:16]
    params = model.init(jax.random.key(1))
    wanted = model.losses(model.logits(params, x), y).mean()
    np.testing.assert_allclose(model.loss(params, x, y), wanted, rtol=1e-5)
    np.testing.assert_allclose(model.loss_and_grads(params, x, y)[0], wanted, rtol=1e-5)


def test_it_learns_the_digits(built, small):
    trainer = built(Config(network=GRAPH, optimizer=Optimizer(learning_rate=0.1), batch_size=10))
    state, key = trainer.init(0)
    for epoch in range(1, 41):
        state, *_ = trainer.epoch(state, key, epoch, never)
    assert trainer.evaluate(state.params, small.train).accuracy > 0.95


REFUSED = {
    "name = 'graph'\nhidden = [8, 4]": "network.hidden: graph is a residual perceptron, whose layers are added and "
    "have one width, got [8, 4]",
    "name = 'graph'\nhidden = []": "network.hidden: graph is a residual perceptron, whose layers are added and "
    "have one width, got []",
    "name = 'graph'\nactivation = 'relu'": "network.activation: a setting of 'mlp' alone, not of network.name =",
    "name = 'deep'": "network.name: invalid enum value 'deep'; known values: cnn, graph, mlp, two_layer; deep gives",
    "name = 'regression'": "network.name: invalid enum value 'regression'; known values: cnn, graph, mlp, two_layer; "
    "regression gives numbers, with a squared error, and names no class",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_classifier_is_refused_with_the_reason(tmp_path, text):
    (tmp_path / "my.toml").write_text(f"[network]\n{text}\n")
    with pytest.raises(ConfigError) as error:
        configs.read(tmp_path / "my.toml")
    assert str(error.value).startswith(f"{tmp_path / 'my.toml'}: {REFUSED[text]}")


def test_widths_that_cannot_be_added_are_refused():
    with pytest.raises(ValueError, match=r"residual: layers that are added have one width, got \[8, 4\]"):
        residual((64, 8, 4, 10), COSTS["cross_entropy"])
