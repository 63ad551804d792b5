"""Data that stays in its files: the same batches, the same training, a position to go on from."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.training import data, streaming, trainer
from jbackprop.training import split as splits
from jbackprop.training.config import Config, ConfigError, Data, Network, Optimizer
from jbackprop.training.data import Dataset, Split
from jbackprop.training.interrupt import never
from jbackprop.training.split import columns, streams
from jbackprop.training.step import shuffled_batches

CONFIG = Config(
    network=Network(hidden=(16,)),
    optimizer=Optimizer(learning_rate=0.5),
    batch_size=100,
    loop="steps",
    data=Data(rows=(0, 520), permutation=3),
)


@pytest.fixture(scope="module")
def resident(digits: Dataset) -> Dataset:
    return data.chosen(digits, CONFIG.data)


@pytest.fixture(scope="module")
def streamed(data_folder: Path) -> Dataset:
    return data.load(Data(dir=str(data_folder), on_device_bytes=0, rows=(0, 520), permutation=3))


def test_it_streams_where_it_would_not_fit(data_folder):
    size = 1347 * 64
    assert streams(data.load(Data(dir=str(data_folder), on_device_bytes=size - 1)).train)
    assert not streams(data.load(Data(dir=str(data_folder), on_device_bytes=size)).train)


def test_the_batches_are_those_of_the_data_on_the_device(resident, streamed):
    for epoch in (1, 2):
        order = np.asarray(shuffled_batches(jax.random.key(7), jnp.int32(epoch), 520, 100))
        found = list(streaming.batches(streamed.train, order))
        assert len(found) == 5
        for batch, rows in zip(found, order, strict=True):
            np.testing.assert_array_equal(batch.images, np.asarray(resident.train.images)[rows], strict=True)
            np.testing.assert_array_equal(batch.labels, np.asarray(resident.train.labels)[rows], strict=True)


def test_a_stream_goes_on_from_its_position(streamed):
    order = np.asarray(shuffled_batches(jax.random.key(7), jnp.int32(1), 520, 100))
    whole = [batch.labels for batch in streaming.batches(streamed.train, order)]
    stream = streaming.batches(streamed.train, order)
    for _ in range(2):
        next(stream)
    position = stream.get_state()
    later = streaming.batches(streamed.train, order)
    later.set_state(position)
    np.testing.assert_array_equal([batch.labels for batch in later], whole[2:])


def test_it_trains_and_evaluates_the_same(resident, streamed, monkeypatch):
    monkeypatch.setattr(splits, "BLOCK", 300)
    ended = []
    for dataset in (resident, streamed):
        chosen = trainer.build(CONFIG, dataset)
        state, losses, _ = chosen.epoch(*chosen.init(0), 1, never)
        ended.append(
            (losses, *jax.tree.leaves(jax.device_get(state.params)), chosen.evaluate(state.params, dataset.train))
        )
        assert chosen.loop == ("steps" if dataset is resident else "stream")
    (*wanted, wanted_evaluation), (*found, evaluation) = ended
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert evaluation.examples == 520
    np.testing.assert_array_equal(evaluation.confusion, wanted_evaluation.confusion)
    np.testing.assert_allclose(evaluation.loss, wanted_evaluation.loss, rtol=1e-6)


def test_it_stops_between_two_steps(streamed):
    chosen = trainer.build(CONFIG, streamed)
    asked = iter([False, False, True])
    state, losses, _ = chosen.epoch(*chosen.init(0), 1, lambda: next(asked))
    assert (len(losses), int(state.step)) == (2, 2)


def test_a_whole_epoch_in_one_loop_is_refused(streamed):
    with pytest.raises(ConfigError, match=r"loop: 'scan' needs the data on the device, see data\.on_device_bytes"):
        trainer.build(Config(loop="scan"), streamed)


def test_columns_are_indexed_as_arrays_are(resident, streamed):
    for part, wanted in zip(streamed.train, resident.train, strict=True):
        assert (part.shape, part.dtype, part.size) == (wanted.shape, wanted.dtype, wanted.size)
        np.testing.assert_array_equal(part[3:7], np.asarray(wanted)[3:7], strict=True)
        np.testing.assert_array_equal(part[np.array([5, 1])], np.asarray(wanted)[[5, 1]], strict=True)
    np.testing.assert_array_equal(np.asarray(streamed.train.labels), resident.train.labels)
    assert isinstance(streamed.train, Split)


def test_files_that_are_not_there_are_named(data_folder, tmp_path):
    class Broken:
        class info:
            name = "digits"

        data_dir = tmp_path

    with pytest.raises(data.DataError, match=rf"digits: the train split in {tmp_path} cannot be read"):
        columns(Broken(), "train")
