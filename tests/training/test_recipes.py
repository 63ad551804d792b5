"""Training rows, normalisation, initial weights, order; and the configurations of the published results."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.training import config as configs
from jbackprop.training import data, model, trainer
from jbackprop.training.config import Config, ConfigError, Data, Network
from jbackprop.training.data import Dataset, Split
from jbackprop.training.step import shuffled_batches

MNIST = sorted((Path(__file__).parents[2] / "configs").glob("mnist_*.toml"))


def test_rows_are_those_of_the_permutation(small):
    chosen = data.chosen(small, Data(permutation=100, rows=(50, 200)))
    order = np.random.RandomState(100).permutation(203)[50:200]
    np.testing.assert_array_equal(chosen.train.images, small.train.images[order])
    np.testing.assert_array_equal(chosen.train.labels, small.train.labels[order])
    assert chosen.test is small.test


def test_rows_without_a_permutation_are_those_of_the_file(small):
    chosen = data.chosen(small, Data(rows=(0, 7)))
    np.testing.assert_array_equal(chosen.train.labels, small.train.labels[:7])
    assert data.chosen(small, Data()) is small


def test_rows_that_are_not_there_are_refused(small):
    with pytest.raises(ConfigError, match=r"data\.rows: 204 is more than the 203 training examples") as error:
        data.chosen(small, Data(rows=(0, 204)))
    assert error.value.key == "data.rows"


@pytest.mark.parametrize("network", [Network(), Network(name="cnn", channels=(2,), hidden=())], ids=["flat", "images"])
def test_standard_inputs_have_the_mean_and_deviation_of_the_training_rows(network, small):
    chosen = data.chosen(small, Data(rows=(10, 150), normalise="standard"))
    prepare = model.build(network, chosen).prepare
    train = np.asarray(small.train.images[10:150], np.float64)
    np.testing.assert_allclose(float(prepare(chosen.train.images).mean()), 0, atol=1e-5)
    np.testing.assert_allclose(float(prepare(chosen.train.images).std()), 1, rtol=1e-5)
    wanted = (np.asarray(small.test.images, np.float64) - train.mean()) / train.std()
    found = prepare(small.test.images)
    np.testing.assert_allclose(found, wanted.reshape(found.shape), atol=1e-5)


@pytest.mark.parametrize(("weights", "deviation"), [("normal", 1.0), ("fan_in", 1 / 8), ("lecun_normal", 1 / 8)])
def test_initial_weights_and_biases(weights, deviation, small):
    network = Network(name="mlp", hidden=(3000,), weights=weights, biases="normal")
    first, last = model.build(network, small).init(jax.random.key(0))
    assert abs(float(first["w"].std()) / deviation - 1) < 0.01
    assert abs(float(last["w"].std()) / (1.0 if weights == "normal" else 3000**-0.5) - 1) < 0.03
    truncated = float(jnp.abs(first["w"]).max()) < 2.3 * deviation
    assert truncated == (weights == "lecun_normal")
    assert abs(float(first["b"].std()) - 1) < 0.05
    assert abs(float(first["w"].mean())) < 0.01 * deviation
    assert np.unique(np.concatenate([jnp.ravel(leaf) for leaf in (first["b"], last["b"])])).size == 3010


def test_initial_values_that_are_not_asked_for_are_the_network_s_own(small):
    own, redrawn = (
        model.build(Network(weights=weights), small).init(jax.random.key(0)) for weights in (None, "normal")
    )
    np.testing.assert_array_equal(redrawn["b1"], own["b1"])
    assert not np.array_equal(redrawn["w1"], own["w1"])


def test_in_order_is_the_order_of_the_split_in_every_epoch(small):
    for epoch in (1, 2):
        batches = shuffled_batches(jax.random.key(0), jnp.int32(epoch), 203, 20, in_order=True)
        np.testing.assert_array_equal(batches, np.arange(200).reshape(10, 20))
    chosen = trainer.build(Config(batch_size=20, shuffle=False), small)
    first, second = (chosen.epoch(chosen.init(0)[0], jax.random.key(n), n, lambda: False)[1] for n in (1, 2))
    np.testing.assert_array_equal(first, second)


@pytest.fixture(scope="module")
def fake_mnist() -> Dataset:
    """A few images in MNIST's shape."""
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (24, 28, 28, 1), np.uint8), draw.integers(0, 10, 24).astype(np.int32)
    split = Split(jnp.asarray(images), jnp.asarray(labels))
    return Dataset(split, Split(split.images[:5], split.labels[:5]), classes=10, white=255.0)


@pytest.mark.parametrize("path", MNIST, ids=lambda path: path.stem)
def test_the_network_of_each_configuration_fits_its_images(path, fake_mnist):
    config = configs.read(path)
    chosen = model.build(config.network, fake_mnist)
    params = jax.eval_shape(chosen.init, jax.random.key(0))
    x = jax.eval_shape(chosen.prepare, fake_mnist.train.images)
    loss, grads = jax.eval_shape(chosen.loss_and_grads, params, x, fake_mnist.train.labels)
    assert loss.shape == ()
    assert jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, params)
    assert jax.eval_shape(chosen.logits, params, x).shape == (24, 10)
    assert config.data.name == "mnist"
    assert config.data.dir is None


def test_there_is_a_configuration_for_each_published_result():
    from experiments.published_results import ROWS

    assert set(ROWS) == {"digits_two_layer", "digits_mlp", "digits_cnn", *(path.stem for path in MNIST)}
