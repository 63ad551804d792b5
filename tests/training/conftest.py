"""One prepared data folder for all tests of a process."""

from pathlib import Path

import pytest

from jbackprop.training import data
from jbackprop.training.data import Dataset


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
