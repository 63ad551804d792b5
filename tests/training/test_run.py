"""One run end to end: the files it leaves, the lines it prints, and what Ctrl-C leaves."""

import hashlib
import io
import json
import re
import signal
import threading
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from jbackprop.training import config as configs
from jbackprop.training import finish, plots, record, run, summary_json
from jbackprop.training import train as trains
from jbackprop.training.config import Config, Data, Network, Optimizer
from jbackprop.training.display import display
from jbackprop.training.interrupt import interruptible
from jbackprop.training.loop import Metrics, Position, Progress
from jbackprop.training.state import State
from jbackprop.training.summary import FILES, summary

ROW = Metrics(1, 42, 0.5, 0.9, 0.6, 0.85, 0.01, 1000.0)


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
    assert {path.name for path in result.folder.iterdir()} == set(FILES) | events


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


def test_a_long_run_prints_some_lines_only():
    printed = io.StringIO()
    with display(Console(file=printed, width=80), 1000) as show:
        for epoch in range(1, 1001):
            show(ROW._replace(epoch=epoch))
    assert 10 <= len(printed.getvalue().splitlines()) <= 12


def test_on_a_terminal_one_line_is_drawn_again():
    drawn = io.StringIO()
    with display(Console(file=drawn, width=120, force_terminal=True), 3) as show:
        for epoch in (1, 2, 3):
            show(ROW._replace(epoch=epoch))
    printed = drawn.getvalue()
    assert "\x1b[2K" in printed
    for words in ("3/3", "loss 0.5000", "test accuracy 85.00%", "1,000 samples/s", "left"):
        assert words in printed


@pytest.mark.parametrize(("width", "kept"), [(80, "1,079,840/s"), (60, "97.56%"), (48, "loss 0.0083"), (40, "left")])
def test_a_narrow_terminal_keeps_the_epoch_and_the_time_left(width, kept):
    drawn = io.StringIO()
    with display(Console(file=drawn, width=width, force_terminal=True), 1000) as show:
        show(ROW._replace(epoch=1000, loss=0.0083, test_accuracy=0.9756, samples_per_second=1079840.0))
    (line, *_) = [line for line in re.split(r"\r|\n", drawn.getvalue()) if "1000/1000" in line]
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line)
    assert re.search(r"epoch 1000/1000 .*\d:\d\d left", text)
    assert kept in text
    assert "…" not in text


def test_the_largest_disagreement_so_far_is_shown_where_it_fits():
    for width, kept in ((140, True), (100, True), (60, False)):
        drawn = io.StringIO()
        with display(Console(file=drawn, width=width, force_terminal=True), 3) as show:
            for epoch, found in ((1, {"w": 2e-7, "b": 0.0}), (2, None), (3, {"w": 1e-7, "b": 0.0})):
                show(ROW._replace(epoch=epoch, gradient_disagreement=found))
        text = drawn.getvalue()
        assert ("gradient disagreement at most 2.0e-07" in text) == kept
        assert "1.0e-07" not in text
        assert "…" not in text


def test_a_loss_that_is_not_finite_is_null(tmp_path):
    disagreement = {"w": float("inf"), "b": 0.0}
    row = ROW._replace(loss=float("nan"), test_loss=float("inf"), gradient_disagreement=disagreement)
    run.append_metrics(tmp_path, [row])

    def refuse(constant):
        raise AssertionError(constant)

    row = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    wanted = ROW._replace(loss=None, test_loss=None, gradient_disagreement={"w": None, "b": 0.0})
    assert row == {key: value for key, value in wanted._asdict().items() if key != "seed"}


def test_the_curves_of_one_epoch_are_inside_their_axes():
    loss, accuracy = plots.curves([ROW._replace(train_accuracy=0.4, loss=float("nan"))]).axes
    low, high = accuracy.get_ylim()
    assert low < 0.4 < 0.85 < high
    assert accuracy.get_xlim() == (0.5, 1.5)
    assert [tick for tick in accuracy.get_xticks() if 0.5 <= tick <= 1.5] == [1]
    assert [text.get_text() for text in loss.texts] == ["loss not finite"]
    assert not plots.curves([ROW]).axes[0].texts


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
    expected = {"config.toml", "params.npz", "predictions.png", "first_layer.png", "summary.json"}
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


def test_one_ctrl_c_is_a_request_and_two_are_an_interrupt(capfd):
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop()
        assert "Ctrl-C again" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_no_handler_is_set():
    before, asked = signal.getsignal(signal.SIGINT), []

    def work():
        with interruptible() as stop:
            asked.append((stop(), signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [(False, True)]


def test_a_second_run_in_the_same_second_gets_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(run.time, "strftime", lambda form: "now")
    names = [run.new_folder(tmp_path / "runs", "x").name for _ in range(3)]
    assert names == ["x-now", "x-now-2", "x-now-3"]


def test_a_runs_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(run.RunError, match=r"cannot make the run folder .*file.*--runs"):
        run.new_folder(tmp_path / "file", "x")


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    target = tmp_path / "params.npz"
    target.write_text("old")

    def half(path):
        path.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run.write(target, half)
    assert [path.name for path in tmp_path.iterdir()] == ["params.npz"]
    assert target.read_text() == "old"


def test_parameters_are_saved_under_their_paths(tmp_path):
    params = {"conv": [{"w": np.ones((2, 2)), "b": np.zeros(2)}], "dense": [{"w": np.ones(3)}]}
    run.save_params(tmp_path, params)
    assert set(np.load(tmp_path / "params.npz")) == {"conv/0/w", "conv/0/b", "dense/0/w"}


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
    assert (kept["seeds"], kept["ended"], kept["loop"]) == (None, None, "scan")
    assert kept["versions"]["jax"] == jax.__version__
    assert (kept["command"], kept["of_seed"]) == ("jbackprop train short.toml", None)


def test_what_is_not_finite_is_null_in_the_summary():
    found = summary_json._finite({"a": [float("nan"), 1.0], "b": {"c": float("inf")}, "d": None, "e": 3})
    assert found == {"a": [None, 1.0], "b": {"c": None}, "d": None, "e": 3}


@pytest.mark.parametrize(("value", "saved"), [(1.0, True), (np.nan, False)])
def test_a_checkpoint_is_written_of_finite_parameters_alone(tmp_path, monkeypatch, value, saved):
    monkeypatch.setattr(record, "_events", lambda *arguments: None)
    kept = record.Record(tmp_path, Config(epochs=1), {}, None, tmp_path)
    none = np.zeros(0, np.float32)
    for epoch, row in ((0, None), (1, ROW)):
        state = State({"w": jnp.full(2, value)}, (), jnp.int32(0))
        kept.add(Progress(Position(state, jax.random.key(0), epoch, none, none), row))
    assert (tmp_path / "checkpoints" / "1").exists() == saved


def test_tensorboard_reads_the_events(trained):
    pytest.importorskip("tensorboardX", reason="the event files are written where tensorboardX is installed")
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


def test_without_tensorboard_there_are_no_events(tmp_path, monkeypatch):
    monkeypatch.setattr(record.importlib.util, "find_spec", lambda name: None)
    assert record._events(tmp_path, 0) is None
    assert not list(tmp_path.iterdir())


def test_the_loop_is_printed_with_who_chose_it(trained):
    _, config, printed = trained
    assert "an epoch by scan on " in printed
    chosen = msgspec.structs.replace(config, loop="steps", epochs=1, agreement_epochs=0)
    said = io.StringIO()
    trains.train(chosen, Console(file=said, width=80), stop=lambda: "an epoch by" in said.getvalue())
    assert "an epoch by steps, as asked on " in said.getvalue()
