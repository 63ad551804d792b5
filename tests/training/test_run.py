"""One run end to end: the files it leaves, the lines it prints, and what Ctrl-C leaves."""

import hashlib
import io
import json
import threading
from contextlib import contextmanager
from typing import Any

import jax
import msgspec
import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from jbackprop.training import config as configs
from jbackprop.training import finish
from jbackprop.training import train as trains
from jbackprop.training.config import Config, Data, Network, Optimizer
from jbackprop.training.lock import LOCK
from jbackprop.training.loop import Metrics
from jbackprop.training.summary import FILES, summary


@pytest.fixture
def touched(monkeypatch):
    """Plots are empty files, for tests that ask only which there are."""
    monkeypatch.setattr(finish, "_save", lambda folder, name, figure: (folder / name).touch())


@pytest.fixture(scope="module")
def trained(data_folder, tmp_path_factory, built_once):
    """A short run, its configuration, and what it printed."""
    config = Config(
        network=Network(hidden=(16,)),
        optimizer=Optimizer(learning_rate=0.5),
        data=Data(dir=str(data_folder)),
        epochs=4,
        agreement_epochs=2,
        check_every=100,
        name="short",
        runs=str(tmp_path_factory.mktemp("runs")),
    )
    printed = io.StringIO()
    result = trains.train(config, Console(file=printed, width=80), command="jbackprop train short.toml")
    return result, config, printed.getvalue()


def test_the_folder_holds_every_file_and_no_other(trained):
    result, _, _ = trained
    assert result.folder.name.startswith("short-")
    events = {path.name for path in result.folder.glob("events.out.tfevents.*")}
    assert {path.name for path in result.folder.iterdir()} == {*FILES, LOCK} | events


def test_the_configuration_trains_the_same_again(trained):
    result, config, _ = trained
    assert configs.read(result.folder / "config.toml") == config


def test_the_metrics_are_json_lines(trained):
    result, _, _ = trained
    rows = [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows == [{key: value for key, value in row._asdict().items() if value is not None} for row in result.metrics]
    assert set(rows[0]) == set(Metrics._fields) - {"seed"}
    assert [set(row.get("gradient_disagreement", ())) for row in rows] == [
        {*result.params},
        set(),
        {*result.params},
        set(),
    ]


def test_the_certificate_says_what_the_checks_found(trained):
    result, _, _ = trained
    written = json.loads((result.folder / "certificate.json").read_text())
    assert (written["verdict"], written["ended"], written["gradient"]) == ("agree", "complete", "explicit")
    assert (written["steps"], written["steps_checked"], written["check_every"]) == (168, 2, 100)
    assert set(written["parameters"]) == set(result.params)
    assert {found["step"] for found in written["parameters"].values()} <= {1, 101}
    assert written["largest"]["disagreement"] < 1e-6 < written["largest"]["bound"] < 1e-4
    assert hashlib.sha256((result.folder / "config.toml").read_bytes()).hexdigest() in str(written["configuration"])


def test_the_parameters_are_those_at_the_end(trained):
    result, _, _ = trained
    saved = np.load(result.folder / "params.npz")
    assert set(saved) == {"w1", "b1", "w2", "b2"}
    for name, leaf in result.params.items():
        np.testing.assert_array_equal(saved[name], leaf)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".png")])
def test_the_plots_are_pictures_with_something_on_them(trained, name):
    result, _, _ = trained
    picture = imread(result.folder / name)
    assert min(picture.shape[:2]) > 200
    assert picture[..., :3].std() > 0.05


def test_the_three_gradients_agree(trained):
    result, _, _ = trained
    worst = result.gradients.worst
    assert max(worst.explicit_error, worst.rules_error) <= 1e-6
    assert max(worst.explicit_error_float64, worst.rules_error_float64) <= 1e-14


def test_without_a_terminal_the_lines_are_plain(trained):
    _, _, printed = trained
    assert "\x1b" not in printed
    assert "\r" not in printed
    lines = [line for line in printed.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    words = ("loss", "test accuracy", "samples/s", "gradient disagreement at most ")
    assert all(word in line for line in lines for word in words)
    assert "left" in lines[1]


def test_the_summary_says_accuracy_gradients_and_files(trained):
    result, _, _ = trained
    text = summary(result)
    right = round(result.metrics[-1].test_accuracy * 450)
    assert f"test accuracy {result.metrics[-1].test_accuracy:.2%} ({right} of 450 right)" in text
    assert "max|d| / max|g| against the automatic gradient" in text
    assert "explicit against automatic in 2 of 168 steps\nagree: within " in text
    assert "agree: bounds 1e-06 in float32, 1e-14 in float64" in text
    assert "w1" in text
    assert all(name in text for name in FILES)


@pytest.mark.usefixtures("touched")
@pytest.mark.parametrize("after", [0, 2])
def test_a_stop_leaves_a_usable_folder(trained, monkeypatch, after):
    _, config, _ = trained
    training, shown = threading.Event(), []

    @contextmanager
    def counted(console, epochs, done):
        training.set()
        yield shown.append

    monkeypatch.setattr(trains, "display", counted)
    loop = msgspec.structs.replace(config, loop="steps")
    result = trains.train(loop, Console(file=io.StringIO()), stop=lambda: training.is_set() and len(shown) >= after)
    assert result.interrupted
    assert result.ended == f"stopped by Ctrl-C after {after} of 4 epochs"
    written = {path.name for path in result.folder.iterdir() if "tfevents" not in path.name}
    expected = {LOCK, "config.toml", "params.npz", "predictions.png", "first_layer.png", "summary.json"}
    of_epochs = {"metrics.jsonl", "curves.png", "certificate.json", "gradient_check.png", "checkpoints"}
    assert written == (expected | of_epochs if after else expected)
    assert str(result.ended) in summary(result)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.params))


@pytest.mark.usefixtures("touched")
@pytest.mark.parametrize(
    ("during", "missing"), [("_plot_run", "the comparison"), ("_compare", "gradient_agreement.png")]
)
def test_a_stop_after_the_last_epoch_says_what_is_missing(trained, monkeypatch, during, missing):
    whole, config, _ = trained
    begun, made = threading.Event(), {"_plot_run": None, "_compare": whole.gradients}

    def announced(*arguments):
        begun.set()
        return made[during]

    monkeypatch.setattr(finish, during, announced)
    result = trains.train(config, Console(file=io.StringIO()), stop=begun.is_set)
    assert result.interrupted
    assert f"stopped by Ctrl-C after the last epoch: {missing}" in summary(result)
    assert "gradient_agreement.png missing" in summary(result)
    assert (result.folder / "params.npz").exists()


def test_a_stop_before_training_leaves_no_folder(trained, tmp_path):
    _, config, _ = trained
    with pytest.raises(KeyboardInterrupt):
        trains.train(msgspec.structs.replace(config, runs=str(tmp_path / "runs")), Console(), stop=lambda: True)
    assert not (tmp_path / "runs").exists()


def test_the_summary_as_json(trained):
    result, _, _ = trained
    kept = json.loads((result.folder / "summary.json").read_text())
    last, best = result.metrics[-1], max(result.metrics, key=lambda row: row.test_accuracy)
    assert (kept["test_accuracy"], kept["test_loss"], kept["epochs"]) == (last.test_accuracy, last.test_loss, 4)
    assert (kept["best_epoch"], kept["best_test_accuracy"]) == (best.epoch, best.test_accuracy)
    confusion = np.array(kept["confusion"])
    assert confusion.sum() == kept["test_examples"] == 450
    assert confusion.trace() / 450 == kept["test_accuracy"]
    np.testing.assert_allclose(kept["per_class_accuracy"], confusion.diagonal() / confusion.sum(axis=1))
    assert kept["gradient_agreement"]["agree"] is True
    assert set(kept["gradient_agreement"]["parameters"]) == set(result.params)
    assert (kept["seeds"], kept["ended"], kept["loop"], kept["compiler"]) == (None, None, "scan", "default")
    assert kept["versions"]["jax"] == jax.__version__
    assert (kept["command"], kept["of_seed"]) == ("jbackprop train short.toml", None)


def test_tensorboard_reads_the_events(trained):
    from tensorboardX.proto import event_pb2

    proto: Any = event_pb2  # type checkers do not see what protobuf generates
    result, _, _ = trained
    (path,) = result.folder.glob("events.out.tfevents.*")
    content, values, place = path.read_bytes(), {}, 0
    while place < len(content):  # of each record: length, its checksum, the event, its checksum
        length = int.from_bytes(content[place : place + 8], "little")
        event = proto.Event.FromString(content[place + 12 : place + 12 + length])
        values |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        place += 16 + length
    for row in result.metrics:
        np.testing.assert_allclose(values["test_accuracy", row.epoch], row.test_accuracy, rtol=1e-6)
        np.testing.assert_allclose(values["loss", row.epoch], row.loss, rtol=1e-6)


def test_loop_and_compiler_options_are_printed_with_who_chose_them(trained):
    _, config, printed = trained
    assert "an epoch by scan on " in printed
    assert ", compiler options default (compiled in " in printed
    chosen = msgspec.structs.replace(config, loop="steps", compiler="default", epochs=1, agreement_epochs=0)
    said = io.StringIO()
    trains.train(chosen, Console(file=said, width=80), stop=lambda: "an epoch by" in said.getvalue())
    assert "an epoch by steps, as asked on " in said.getvalue()
    assert ", compiler options default, as asked (compiled in " in said.getvalue()
