"""One prepared data folder for all tests of a process."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import pytest

from jbackprop.training import data, trainer
from jbackprop.training.config import Config
from jbackprop.training.data import Dataset
from jbackprop.training.trainer import Trainer


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    data.load_digits(folder)
    return folder


@pytest.fixture(scope="session")
def digits(data_folder: Path) -> Dataset:
    return data.load_digits(data_folder)


@pytest.fixture(scope="session")
def small(digits: Dataset) -> Dataset:
    """203 training and 101 test images: no batch size used here divides them."""
    train, test = digits.train, digits.test
    return digits._replace(
        train=data.Split(train.images[:203], train.labels[:203]), test=data.Split(test.images[:101], test.labels[:101])
    )


@pytest.fixture(scope="session")
def built(small: Dataset) -> Callable[[Config], Trainer]:
    """Returns the trainer of a configuration on the small digits; each is compiled once."""
    return cache(lambda config: trainer.build(config, small))


@pytest.fixture(scope="module")
def built_once():
    """Runs of the same configuration share what is compiled."""
    built, build = {}, trainer.build

    def shared(config, dataset, gradient=None):
        key = (msgspec.json.encode(msgspec.structs.replace(config, runs="")), gradient)
        return built[key] if key in built else built.setdefault(key, build(config, dataset, gradient))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "build", shared)
        yield
