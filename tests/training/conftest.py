"""What the tests of training share: one prepared data folder for a process, trainers and folders of runs."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import jax
import pytest
from report_probes import ROW

from jbackprop.training import data, run, trainer
from jbackprop.training import model as models
from jbackprop.training.config import Config, Data, Network
from jbackprop.training.data import Dataset
from jbackprop.training.trainer import Trainer
from tests.training.shared_builds import building_once


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
    with building_once():
        yield


@pytest.fixture(scope="session")
def load_small(small: Dataset) -> Callable[[Config], Dataset]:
    """In place of the data of a run: 101 test images."""
    return lambda config: small


@pytest.fixture(scope="session")
def random_params(small: Dataset):
    """Returns the random parameters of a network; each is drawn once."""
    return cache(lambda network: models.build(network, small).init(jax.random.key(0)))


@pytest.fixture
def made_run(tmp_path, data_folder, random_params):
    """Returns the function that writes the folder of a run with random parameters."""

    def make(name="a-run", epochs=3, rows=None, **settings) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        settings = {"network": Network(hidden=(4,)), "data": Data(dir=str(data_folder))} | settings
        config = Config(epochs=epochs, **settings)
        run.save_config(folder, config)
        run.save_params(folder, random_params(config.network))
        rows = [{"epoch": i, **ROW} for i in range(1, epochs + 1)] if rows is None else rows
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return make
