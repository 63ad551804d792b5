"""One run for all tests of a process, which none of them changes; those that do take a copy."""

import shutil
from pathlib import Path

import pytest

from jbackprop.training import checkpoint, finish, record
from jbackprop.training.config import Config, Data, Network, Optimizer
from tests.training.shared_builds import building_once

from .resumable import EPOCHS, trained


@pytest.fixture(autouse=True, scope="package")
def quick():
    """No plots, a checkpoint after every epoch, and each configuration compiled once."""
    with pytest.MonkeyPatch.context() as patch, building_once():
        patch.setattr(finish, "_plot_run", lambda *arguments: None)
        patch.setattr(finish, "_compare", lambda *arguments: None)
        patch.setattr(finish, "_save", lambda *arguments: None)
        patch.setattr(record, "Writer", lambda *arguments: checkpoint.Writer(*arguments, share=float("inf")))
        yield


@pytest.fixture(scope="package")
def config(data_folder, tmp_path_factory) -> Config:
    return Config(
        network=Network(hidden=(16,)),
        optimizer=Optimizer(name="momentum", learning_rate=0.2),
        data=Data(dir=str(data_folder)),
        epochs=EPOCHS,
        agreement_epochs=0,
        check_every=50,
        keep_checkpoints=3,
        name="run",
        runs=str(tmp_path_factory.mktemp("runs")),
    )


@pytest.fixture(scope="package")
def whole(config) -> finish.Result:
    return trained(config)


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    """The folder of a run that may be damaged."""
    return Path(shutil.copytree(whole.folder, tmp_path / "copy"))
