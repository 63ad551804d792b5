"""`jbackprop train`: what it refuses, what it prints, the files it leaves, and Ctrl-C."""

import contextlib
import importlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jbackprop import cli
from jbackprop.networks import two_layer
from jbackprop.training import train as trains
from jbackprop.training.run import RunError

FAST = ["--network.hidden", "8", "--epochs", "2", "--agreement-epochs", "0"]


@pytest.fixture
def folder(tmp_path, monkeypatch, environment):
    """An empty working folder with the user's environment, for commands run in this process."""
    monkeypatch.setenv("XDG_CACHE_HOME", environment["XDG_CACHE_HOME"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(folder: Path, text: str = "", name: str = "my.toml") -> str:
    (folder / name).write_text(text)
    return name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch = 3", "my.toml: epoch: unknown key; did you mean epochs?"),
        ("epochs = 'x'", "my.toml: epochs: expected int, got str"),
        ("epochs = ", "my.toml: not TOML"),
        ("batch_size = 5000", "my.toml: batch_size: 5000 is more than the 1347 training examples"),
        ("network = 'mlp'", "my.toml: network: expected a table [network], got str"),
        ("[network]\nname = 'cnn'\nchannels = [4, 4, 4, 4]", "my.toml: network.channels: "),
        ("[data]\ndir = 'my.toml'", "cannot prepare the data in my.toml"),
        ("runs = 'my.toml'", "cannot make the run folder my.toml"),
    ],
)
def test_train_refuses_a_bad_file(capsys, folder, text, words):
    assert cli.main(["train", config(folder, text)]) == 2
    assert words in capsys.readouterr().err
    assert not (folder / "runs").exists()


def test_train_refuses_a_file_that_is_not_there(capsys, folder):
    assert cli.main(["train", "none.toml"]) == 2
    assert "none.toml: No such file or directory" in capsys.readouterr().err


def test_train_without_a_file_says_how(capsys):
    assert cli.main(["train"]) == 2
    assert "usage: jbackprop train CONFIG" in capsys.readouterr().err
    assert cli.main(["train", "--epochs", "3"]) == 2
    assert "the configuration file comes first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (["--epoch", "3"], "--epochs"),
        (["--epochs", "x"], "invalid"),
        (["--optimizer.name", "lion"], "sgd"),
    ],
)
def test_train_refuses_a_bad_option(capsys, folder, override, words):
    assert cli.main(["train", config(folder), *override]) == 2
    printed = capsys.readouterr()
    assert words in printed.out + printed.err


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (["--epochs", "0"], "command line: epochs: expected int >= 1"),
        (["--optimizer.learning-rate", "nan"], "command line: optimizer.learning_rate: expected float > 0.0"),
        (["--optimizer.momentum", "0.5"], "command line: optimizer.momentum: a setting of 'momentum' alone"),
        (["--network.hidden", "1000000000000"], "command line: network.hidden[0]: expected int <= 65536"),
        (["--name", "../../escape"], "command line: name: the head of a folder's name"),
        (["--batch-size", "5000"], "command line: batch_size: 5000 is more"),
    ],
)
def test_train_refuses_a_bad_value(capsys, folder, override, words):
    assert cli.main(["train", config(folder), *override]) == 2
    assert words in capsys.readouterr().err


def test_train_help_lists_the_fields_with_the_files_values(capsys, folder):
    assert cli.main(["train", config(folder, "epochs = 77"), "--help"]) == 0
    printed = capsys.readouterr().out
    for words in ("--epochs", "77", "--optimizer.learning-rate", "--network.hidden", "--gradient"):
        assert words in printed


def test_train_takes_fields_from_the_command_line(capsys, folder):
    path = config(folder, "epochs = 50\n[optimizer]\nlearning_rate = 0.5")
    assert cli.main(["train", path, *FAST, "--optimizer.learning-rate", "0.25", "--gradient", "rules"]) == 0
    printed = capsys.readouterr().out
    (made,) = (folder / "runs").iterdir()
    assert made.name.startswith("my-")
    resolved = (made / "config.toml").read_text()
    for line in ("epochs = 2", "learning_rate = 0.25", 'gradient = "rules"', "hidden = [8]"):
        assert line in resolved
    assert len((made / "metrics.jsonl").read_text().splitlines()) == 2
    assert "test accuracy" in printed
    assert "w1" in printed
    assert str(made.relative_to(folder)) in printed
    assert "\x1b" not in printed


def test_training_that_diverges_is_wrong_not_misuse(capsys, folder):
    path = config(folder, "[network]\nname = 'mlp'\nhidden = [8, 8]\nactivation = 'leaky_relu'")
    assert cli.main(["train", path, "--optimizer.learning-rate", "1e6", "--epochs", "9"]) == 1
    assert "the loss is" in capsys.readouterr().out
    (made,) = (folder / "runs").iterdir()
    assert {"config.toml", "metrics.jsonl", "params.npz", "curves.png"} <= {path.name for path in made.iterdir()}


def test_train_without_the_extra_says_what_to_install(capsys, folder, monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == "msgspec" or "jbackprop.training" in name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert cli.main(["train", config(folder)]) == 2
    assert "pip install 'jbackprop[train]'" in capsys.readouterr().err


def test_a_setting_of_the_file_that_the_command_line_makes_wrong_is_the_files(capsys, folder):
    path = config(folder, "[network]\nname = 'mlp'\nactivation = 'relu'")
    assert cli.main(["train", path, "--network.name", "cnn"]) == 2
    assert (
        "my.toml: network.activation: a setting of 'mlp' alone, not of network.name = 'cnn'" in capsys.readouterr().err
    )


def test_gradients_that_disagree_are_wrong(capsys, folder, monkeypatch):
    right = two_layer.loss_and_grads

    def doubled(params, x, y, **options):
        loss, grads = right(params, x, y, **options)
        return loss, grads | {"b2": 2 * grads["b2"]}

    monkeypatch.setattr(two_layer, "loss_and_grads", doubled)
    monkeypatch.setattr("jbackprop.training.finish._plot_run", lambda *arguments: None)
    assert cli.main(["train", config(folder), *FAST]) == 1
    assert "WRONG: bounds 1e-06 in float32, 1e-14 in float64" in capsys.readouterr().out


def until(true, process: subprocess.Popen, seconds: float = 100.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_on_a_terminal_the_progress_is_live_and_ctrl_c_leaves_a_usable_run(environment, tmp_path):
    path = config(tmp_path)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jbackprop", "train", path, "--epochs", "1000000", "--network.hidden", "8"],
        env=environment | {"TERM": "xterm", "COLUMNS": "120"},
        cwd=tmp_path,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    printed: list[bytes] = []
    reader = threading.Thread(target=read_all, args=(master, printed))
    reader.start()
    until(lambda: [*tmp_path.glob("runs/*/metrics.jsonl")], process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=100) == 130
    reader.join()
    text = b"".join(printed).decode()
    assert "\x1b[2K" in text
    for words in ("/1000000", "samples/s", "Ctrl-C again stops at once", "stopped by Ctrl-C after", "test accuracy"):
        assert words in text
    assert "Traceback" not in text
    (made,) = (tmp_path / "runs").iterdir()
    assert {"config.toml", "metrics.jsonl", "params.npz", "curves.png"} <= {path.name for path in made.iterdir()}
    for line in (made / "metrics.jsonl").read_text().splitlines():
        json.loads(line)


def read_all(descriptor: int, into: list[bytes]) -> None:
    """Reads until the other end is closed, which Linux says with EIO."""
    with contextlib.suppress(OSError):
        while piece := os.read(descriptor, 65536):
            into.append(piece)
    os.close(descriptor)


def test_ctrl_c_before_training_ends_without_a_traceback(capsys, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("jbackprop.commands.train"), "main", interrupted)
    assert cli.main(["train", "x.toml"]) == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().err


def test_the_summary_is_told_the_command(folder, monkeypatch):
    given = []

    def told(*arguments):
        given.append(arguments[-1])
        raise RunError("enough")

    monkeypatch.setattr(trains, "train", told)
    assert cli.main(["train", config(folder), "--epochs", "9", "--name", "a run"]) == 2
    assert given == ["jbackprop train my.toml --epochs 9 --name 'a run'"]
