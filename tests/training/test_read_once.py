"""Data in its files: each record is read once for what is wanted of it, and no image for a label."""

from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jbackprop.training import data, records, resume, trainer
from jbackprop.training import split as splits
from jbackprop.training.config import Config, Data, Network
from jbackprop.training.data import Dataset
from jbackprop.training.interrupt import never
from jbackprop.training.split import of_records

ROWS = (0, 260)
CONFIG = Config(network=Network(hidden=(4,)), batch_size=50, data=Data(rows=ROWS, normalise="standard"))


class Counting:
    """A source of records that counts how often each is read."""

    def __init__(self, source: Any) -> None:
        self.source, self.read = source, Counter()

    def __getitems__(self, rows: list[int]) -> list[bytes]:
        self.read.update(rows)
        return self.source.__getitems__(rows)


@pytest.fixture
def counted(data_folder: Path) -> tuple[Dataset, Counter]:
    dataset = data.load(Data(dir=str(data_folder), on_device_bytes=0, rows=ROWS))
    images: Any = dataset.train.images
    source = Counting(images.records.source)
    return dataset._replace(train=of_records(images.records._replace(source=source))), source.read


def once(rows: Any = range(*ROWS)) -> Counter:
    return Counter(rows)


def test_an_evaluation_reads_each_record_once(counted, monkeypatch):
    dataset, read = counted
    monkeypatch.setattr(splits, "BLOCK", 100)
    built = trainer.build(CONFIG, dataset)
    params = built.init(0)[0].params
    read.clear()
    built.evaluate(params, dataset.train)
    assert read == once()


def test_an_epoch_reads_each_record_once(counted):
    dataset, read = counted
    built = trainer.build(CONFIG, dataset)
    state, key = built.init(0)
    read.clear()
    built.epoch(state, key, 1, never)
    assert read == once(np.asarray(built.order(key, np.int32(1))).ravel().tolist())


def test_the_digest_and_the_mean_read_each_record_once_and_are_those_of_the_data_on_the_device(counted, data_folder):
    dataset, read = counted
    resident = data.load(Data(dir=str(data_folder), rows=ROWS, normalise="standard"))
    assert resume._digest(dataset.train) == resume._digest(resident.train)
    assert read == once()
    read.clear()
    found = data.standardised(dataset)
    assert read == once()
    assert (found.mean, found.std) == (resident.mean, resident.std)


def test_labels_are_read_without_their_images(counted, data_folder, monkeypatch):
    dataset, read = counted
    wanted = np.asarray(data.load(Data(dir=str(data_folder), rows=ROWS)).train.labels)

    def refused(image: Any) -> bytes:
        raise AssertionError("an image was decoded")

    images: Any = dataset.train.images
    split = of_records(images.records._replace(decode=refused))
    monkeypatch.setattr(records, "AT_A_TIME", 100)
    np.testing.assert_array_equal(np.asarray(split.labels), wanted, strict=True)
    np.testing.assert_array_equal(split.labels[np.array([7, 3])], wanted[[7, 3]])
    assert read == once() + Counter([7, 3])


def test_the_digest_is_of_every_image_and_label(digits):
    base = digits.test
    images, labels = np.asarray(base.images).copy(), np.asarray(base.labels).copy()
    images[-1, 0, 0] ^= 1
    labels[-1] ^= 1
    digests = {resume._digest(split) for split in (base, base._replace(images=images), base._replace(labels=labels))}
    assert len(digests) == 3
    assert resume._digest(base._replace(images=jax.numpy.array(base.images))) in digests
