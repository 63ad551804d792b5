"""What a run keeps for later: the best parameters and the scale of its pixels to predict with, what its data were."""

import io
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jbackprop import cli
from jbackprop.training import checkpoint_files as files
from jbackprop.training import data, finish, record
from jbackprop.training import train as trains
from jbackprop.training.checkpoint import Writer
from jbackprop.training.config import Config, Data, Network, Optimizer
from jbackprop.training.data import DataError, Dataset
from jbackprop.training.predict import predict
from jbackprop.training.run import RunError
from jbackprop.training.saved_run import read_run


@pytest.fixture(autouse=True, scope="module")
def quick(built_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "_plot_run", lambda *arguments: None)
        patch.setattr(finish, "_compare", lambda *arguments: None)
        patch.setattr(record, "Writer", lambda *arguments: Writer(*arguments, share=float("inf")))
        yield


@pytest.fixture(scope="module")
def config(data_folder, tmp_path_factory) -> Config:
    return Config(
        network=Network(hidden=(8,)),
        optimizer=Optimizer(learning_rate=0.5),
        data=Data(dir=str(data_folder), normalise="standard"),
        epochs=3,
        agreement_epochs=0,
        keep_checkpoints=3,
        name="run",
        runs=str(tmp_path_factory.mktemp("runs")),
    )


def trained(config: Config, resumed: Path | None = None, **changes) -> Path:
    return trains.train(msgspec.structs.replace(config, **changes), Console(file=io.StringIO()), resumed=resumed).folder


@pytest.fixture(scope="module")
def whole(config) -> Path:
    return trained(config)


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


@pytest.fixture(scope="module")
def drawing(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("images") / "drawing.png"
    pixels = np.zeros((40, 40), np.uint8)
    pixels[5:35, 15:22] = 255
    Image.fromarray(pixels).save(path)
    return path


def no_data(config):
    raise DataError("no data here")


def test_the_best_parameters_are_those_after_the_best_epoch(config, copy, drawing, capsys):
    best = {"checkpoint": "2", "test_accuracy": 0.75}
    (copy / "checkpoints" / files.BEST).write_text(json.dumps(best))
    two_epochs = read_run(trained(config, epochs=2))
    found, wanted, last = (
        predict(run, drawing, no_data, best=best)
        for run, best in ((read_run(copy), True), (two_epochs, False), (read_run(copy), False))
    )
    np.testing.assert_array_equal(found.probabilities, wanted.probabilities)
    assert (found.probabilities != last.probabilities).any()
    assert cli.main(["predict", str(copy), str(drawing), "--best"]) == 0
    assert "parameters: after epoch 2, of the best test accuracy, 75.00%" in capsys.readouterr().out


def test_of_several_seeds_the_best_are_those_of_the_first(config, drawing):
    run = read_run(trained(config, seeds=2, epochs=1))
    found, last = (predict(run, drawing, no_data, best=best) for best in (True, False))
    np.testing.assert_array_equal(found.probabilities, last.probabilities)


@pytest.mark.parametrize("damage", ["none", "damaged"])
def test_a_best_checkpoint_that_cannot_be_used_is_named(copy, drawing, capsys, damage):
    if damage == "none":
        (copy / "checkpoints" / files.BEST).unlink()
    else:
        best = files.best(copy / "checkpoints")
        assert best
        (copy / "checkpoints" / best["checkpoint"] / "progress.json").write_text("{}")
    assert cli.main(["predict", str(copy), str(drawing), "--best"]) == 2
    words = {"none": "has no best checkpoint", "damaged": "is damaged (progress.json is not what was written); without"}
    assert words[damage] in capsys.readouterr().err


def test_the_scale_of_the_pixels_needs_no_data(config, copy, drawing, capsys):
    pixels = json.loads((copy / "summary.json").read_text())["pixels"]
    dataset = data.load(config.data)
    assert pixels == {"mean": dataset.mean, "std": dataset.std}
    kept, loaded = (predict(read_run(copy), drawing, load) for load in (no_data, data.load))
    (copy / "summary.json").unlink()
    without = predict(read_run(copy), drawing, data.load)
    np.testing.assert_array_equal(kept.probabilities, without.probabilities)
    np.testing.assert_array_equal(kept.probabilities, loaded.probabilities)
    (copy / "summary.json").write_text('{"pixels": {"mean": 0.5}}')
    assert cli.main(["predict", str(copy), str(drawing)]) == 2
    assert "summary.json: damaged (pixels is {'mean': 0.5}, wanted mean and std)" in capsys.readouterr().err


@pytest.mark.parametrize(("split", "words"), [("train", "another training split"), ("test", "another test split")])
def test_resuming_with_other_data_names_the_split(config, copy, monkeypatch, split, words):
    load = data.load

    def other(chosen: Data) -> Dataset:
        dataset = load(chosen)
        part = getattr(dataset, split)
        return dataset._replace(**{split: part._replace(labels=part.labels.at[0].set((part.labels[0] + 1) % 10))})

    monkeypatch.setattr(data, "load", other)
    with pytest.raises(RunError, match=rf"the images or labels of digits: not as the run was trained: {words}$"):
        trained(config, copy, epochs=4)
