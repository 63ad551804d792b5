"""The loop and the evaluation that its metrics come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from jbackprop.training import trainer
from jbackprop.training.config import Config, Network, Optimizer
from jbackprop.training.data import Split
from jbackprop.training.evaluate import make_evaluate, probabilities
from jbackprop.training.loop import TrainingError, fit
from jbackprop.training.trainer import Trainer


@pytest.fixture(scope="module")
def trained(built) -> Trainer:
    config = Config(network=Network(hidden=(16,)), optimizer=Optimizer(learning_rate=0.5), batch_size=20, loop="scan")
    return built(config)


def metrics(chosen: Trainer, dataset, **options) -> list:
    return [progress.metrics for progress in fit(chosen, dataset, **options) if progress.metrics]


@pytest.mark.parametrize("batch", [1, 7, 100, 101, 102, 512])
def test_evaluation_counts_every_example_once(trained, small, batch):
    state, _ = trained.init(0)
    logits = np.asarray(trained.model.logits(state.params, trained.model.prepare(small.test.images)), np.float64)
    labels = np.asarray(small.test.labels)
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(labels)), labels]
    evaluation = make_evaluate(trained.model, batch)(state.params, small.test)
    assert evaluation.examples == 101
    assert evaluation.accuracy == np.mean(logits.argmax(-1) == labels)
    np.testing.assert_array_equal(evaluation.confusion, confusion_matrix(labels, logits.argmax(-1)))
    right = [np.mean(logits[labels == digit].argmax(-1) == digit) for digit in range(10)]
    np.testing.assert_allclose(evaluation.per_class_accuracy, right)
    np.testing.assert_allclose(evaluation.loss, losses.mean(), rtol=1e-6)


def test_probabilities_are_found_a_batch_at_a_time(trained, small):
    params, seen = trained.init(0)[0].params, []

    def prepare(images):
        seen.append(len(images))
        return trained.model.prepare(images)

    found = probabilities(trained.model._replace(prepare=prepare), params, small.test.images, batch=40)
    wanted = jax.nn.softmax(trained.model.logits(params, trained.model.prepare(small.test.images)))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert set(seen) == {40}


@pytest.mark.parametrize("last", [4, 10])  # stopped in the middle of the epoch of 10 steps, or not
def test_parameters_that_the_last_update_breaks_end_it(trained, small, last):
    def broken(*arguments, **options):
        state, losses, rows = trained.epoch(*arguments, **options, last=last)
        return state._replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, state.params)), losses, rows

    with pytest.raises(TrainingError, match=rf"parameters are not finite after step {last} \(epoch 1\)") as raised:
        list(fit(trained._replace(epoch=broken), small, 0, 5))
    assert (raised.value.epoch, raised.value.step_in_epoch) == (1, last - 1)


def test_a_test_loss_that_is_not_finite_ends_it(trained, small):
    endless = trained._replace(evaluate=lambda *arguments: trained.evaluate(*arguments)._replace(loss=np.inf))
    with pytest.raises(TrainingError, match="the test loss is inf after epoch 1"):
        list(fit(endless, small, 0, 5))


def test_a_class_without_examples_has_no_accuracy(trained, small):
    zeros = np.asarray(small.test.labels) == 0
    evaluation = trained.evaluate(trained.init(0)[0].params, Split(*(part[zeros] for part in small.test)))
    assert np.isnan(evaluation.per_class_accuracy).tolist() == [False] + [True] * 9
    assert evaluation.confusion.sum(axis=1).tolist() == [zeros.sum()] + [0] * 9


def test_one_epoch_learns(trained, small):
    before, _ = trained.init(0)
    loss_before = trained.evaluate(before.params, small.train).loss
    (row,) = metrics(trained, small, seed=0, epochs=1)
    assert row.test_loss < loss_before
    assert (row.epoch, row.step) == (1, 10)


def test_the_digits_are_learnt(digits):
    config = Config(optimizer=Optimizer(learning_rate=0.5), epochs=30)
    rows = metrics(trainer.build(config, digits), digits, seed=0, epochs=30)
    assert rows[-1].test_accuracy > 0.95
    assert rows[-1].loss < rows[0].loss / 10
    assert [row.epoch for row in rows] == list(range(1, 31))
    assert all(row.samples_per_second > 0 for row in rows)


def test_the_same_seed_trains_the_same_and_another_does_not(trained, small):
    losses = [[row.loss for row in metrics(trained, small, seed=seed, epochs=2)] for seed in (3, 3, 4)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_it_stops_after_the_epoch_at_hand(trained, small):
    rows = []
    for progress in fit(trained, small, seed=0, epochs=50, stop=lambda: len(rows) == 3):
        if progress.metrics:
            rows.append(progress.metrics)
    assert len(rows) == 3
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(progress.state.params))


def test_a_loss_that_is_not_finite_ends_it_with_step_and_advice(small):
    network = Network(name="mlp", hidden=(16, 16), activation="leaky_relu")  # relu dies instead
    config = Config(network=network, optimizer=Optimizer(learning_rate=1e6), batch_size=20)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step \d+ \(epoch 1\).*learning_rate"):
        metrics(trainer.build(config, small), small, seed=0, epochs=50)
