"""The jitted step and epoch: shuffling, the two loops, the three gradients."""

import itertools
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jbackprop.training import agreement, epochs, trainer
from jbackprop.training import model as models
from jbackprop.training.config import Config, ConfigError, Network, Optimizer
from jbackprop.training.gradient import NAMES, loss_and_grads
from jbackprop.training.interrupt import never
from jbackprop.training.state import State
from jbackprop.training.step import shuffled_batches

NETWORKS = {
    "two_layer": Network(name="two_layer", hidden=(16,)),
    "mlp": Network(name="mlp", hidden=(16, 12), activation="tanh"),
    "cnn": Network(name="cnn", hidden=(), channels=(4,)),
}
OPTIMIZERS = {
    "sgd": Optimizer(name="sgd", learning_rate=0.5),
    "momentum": Optimizer(name="momentum", learning_rate=0.1, momentum=0.8),
    "adam": Optimizer(name="adam", learning_rate=0.003),
}


def configured(network: str, optimizer: str = "sgd", **fields) -> Config:
    return Config(network=NETWORKS[network], optimizer=OPTIMIZERS[optimizer], batch_size=20, **fields)


def test_batches_hold_every_row_once_but_the_remainder():
    batches = shuffled_batches(jax.random.key(0), jnp.int32(3), 203, 20)
    assert batches.shape == (10, 20)
    assert len(np.unique(batches)) == 200
    assert np.isin(batches, np.arange(203)).all()


def test_the_order_follows_from_key_and_epoch_alone():
    first, again, other_epoch, other_key = (
        np.asarray(shuffled_batches(jax.random.key(seed), jnp.int32(epoch), 203, 20))
        for seed, epoch in ((0, 1), (0, 1), (0, 2), (1, 1))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other_epoch).any()
    assert (first != other_key).any()
    order = jax.random.permutation(jax.random.fold_in(jax.random.key(0), 1), 203)
    np.testing.assert_array_equal(first.ravel(), order[:200])


@pytest.mark.parametrize("network", NETWORKS)
def test_three_gradients_give_the_same_loss_curve(network, small, built):
    config = configured(network, loop="scan" if network == "two_layer" else "auto")
    curves = agreement.loss_curves(config, small, epochs=3, known=built(config))
    assert set(curves) == set(NAMES)
    assert curves["automatic"].shape == (30,)
    for name, apart in agreement.disagreement(curves).items():
        assert apart.max() < 3e-6, name


def test_three_gradients_are_three_programs(small):
    # were one of them another under the hood, the agreement of the curves would say nothing
    @jax.custom_vjp
    def loss(params, x, y):
        return jnp.sum(params * x)

    loss.defvjp(lambda params, x, y: (jnp.sum(params * x), x), lambda x, dloss: (2 * dloss * x, None, None))
    model = models.build(NETWORKS["two_layer"], small)
    model = model._replace(loss=loss, loss_and_grads=lambda params, x, y: (jnp.sum(params * x), 3 * x))
    arguments = jnp.ones(2), jnp.array([1.0, 10.0]), jnp.zeros(2)
    grads = {name: loss_and_grads(name, model)(*arguments)[1].tolist() for name in NAMES}
    assert grads == {"explicit": [3, 30], "rules": [2, 20], "automatic": [1, 10]}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_scan_and_steps_train_the_same(optimizer, built):
    ended = {}
    for loop in ("scan", "steps"):
        chosen = built(configured("two_layer", optimizer, loop=loop))
        assert chosen.loop == loop
        state, key = chosen.init(0)
        losses = []
        for epoch in (1, 2):
            state, epoch_losses, _ = chosen.epoch(state, key, epoch, never)
            losses.append(epoch_losses)
        ended[loop] = (np.concatenate(losses), state)
    np.testing.assert_allclose(ended["scan"][0], ended["steps"][0], rtol=2e-6)
    for scan, steps in zip(*(jax.tree.leaves(ended[loop][1]) for loop in ended), strict=True):
        np.testing.assert_allclose(scan, steps, atol=2e-6)
    assert int(ended["scan"][1].step) == 20


def test_an_epoch_is_optax_applied_batch_by_batch(small, built):
    chosen = built(configured("mlp", "momentum"))
    state, key = chosen.init(4)
    params, tx = state.params, optax.sgd(0.1, momentum=0.8)
    opt_state = tx.init(params)

    @jax.jit
    def plain(params, opt_state, rows):
        x = small.train.images[rows].reshape(20, 64).astype(jnp.float32) / 16
        updates, opt_state = tx.update(jax.grad(chosen.model.loss)(params, x, small.train.labels[rows]), opt_state)
        return optax.apply_updates(params, updates), opt_state

    for rows in np.asarray(shuffled_batches(key, jnp.int32(1), 203, 20)):
        params, opt_state = plain(params, opt_state, rows)
    state, _, _ = chosen.epoch(chosen.init(4)[0], key, 1, never)
    for expected, trained in zip(jax.tree.leaves(params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(trained, expected, atol=1e-6)


def test_steps_stop_between_two_steps(built):
    asked = iter([False, False, False, True])
    chosen = built(configured("two_layer", loop="steps"))
    state, key = chosen.init(0)
    state, losses, _ = chosen.epoch(state, key, 1, lambda: next(asked))
    assert len(losses) == int(state.step) == 3


def test_processes_with_other_clocks_stop_at_the_same_step(monkeypatch):
    ended, nothing = [], State((), (), jnp.int32(0))
    for tick in (1e-6, 10.0):
        with monkeypatch.context() as patch:
            clock = itertools.count(0.0, tick)
            patch.setattr(epochs, "time", SimpleNamespace(perf_counter=partial(next, clock)))
            patch.setattr(jax, "process_count", lambda: 2)
            losses = ((np.float32(np.nan if i >= 70 else 0),) for i in range(500))
            ended.append(len(epochs._one_by_one(lambda state, loss: (state, loss), nothing, losses, never)[1]))
    assert ended == [128, 128]


def test_convolutions_under_automatic_differentiation_are_not_scanned_on_a_cpu():
    on_cpu = jax.default_backend() == "cpu"
    assert trainer.choose_loop(configured("cnn"), "automatic") == ("steps" if on_cpu else "scan")
    assert trainer.choose_loop(configured("cnn"), "explicit") == "scan"
    assert trainer.choose_loop(configured("cnn", check_every=5), "explicit") == ("steps" if on_cpu else "scan")
    assert trainer.choose_loop(configured("two_layer"), "automatic") == "scan"
    assert trainer.choose_loop(configured("cnn", loop="scan"), "automatic") == "scan"


def test_a_batch_larger_than_the_training_split_is_refused(small):
    with pytest.raises(ConfigError, match="batch_size: 1000 is more than the 203 training examples"):
        trainer.build(Config(batch_size=1000), small)


def test_a_network_that_fills_the_memory_is_refused(small):
    network = Network(name="mlp", hidden=(60000, 60000))
    with pytest.raises(ConfigError, match=r"network: 3,60\d,\d+,\d+ parameters are more than 134,217,728"):
        trainer.build(Config(network=network), small)


def test_the_largest_seed_is_a_seed(built):
    state, _ = built(configured("two_layer", loop="scan")).init(2**32 - 1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_more_pooling_than_the_image_allows_is_refused(small):
    network = Network(name="cnn", channels=(4, 4, 4, 4))
    with pytest.raises(ConfigError, match=r"network\.channels: .*nothing is left"):
        trainer.build(Config(network=network), small)
