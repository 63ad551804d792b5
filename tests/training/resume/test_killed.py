"""A run that is killed, at any moment, goes on bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest

from jbackprop.training import checkpoint_files as files
from jbackprop.training import config as configs
from jbackprop.training import finish
from jbackprop.training import train as trains
from jbackprop.training.config import Config
from jbackprop.training.interrupt import Terminated, interruptible

from .resumable import EPOCHS, rows, same_arrays, trained

DRIVER = Path(__file__).with_name("killed_run.py")


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def command(config: Config) -> list[str]:
    path = Path(config.runs) / "config.toml"
    path.write_text(configs.to_toml(config))
    return ["train", str(path)]


def test_sigterm_saves_a_checkpoint_and_nothing_slow(config, monkeypatch, capfd):
    slow = []
    monkeypatch.setattr(finish, "_plot_run", lambda *arguments: slow.append("plots"))
    evaluated = []

    def shown(console, epochs, done):
        def show(metrics):
            evaluated.append(metrics)
            if len(evaluated) == 2:
                signal.raise_signal(signal.SIGTERM)

        return nullcontext(show)

    monkeypatch.setattr(trains, "display", shown)
    with interruptible() as stop:
        result = trained(config, stop)
    assert "SIGTERM: saving a checkpoint" in capfd.readouterr().err
    assert result.ended == f"stopped by SIGTERM after 2 of {EPOCHS} epochs"
    assert files.names(result.folder / "checkpoints")[0] == "2"
    assert not slow
    assert json.loads((result.folder / "summary.json").read_text())["ended"] == result.ended


def test_sigterm_before_the_first_step_leaves_no_folder(config, tmp_path):
    with interruptible() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Terminated):
            trained(config, stop, runs=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_a_kill_in_the_middle_of_a_write_loses_nothing_else(config, whole, tmp_path):
    killed = msgspec.structs.replace(config, runs=str(tmp_path))
    done = subprocess.run(
        [sys.executable, DRIVER, "3", *command(killed)], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert {path.name for path in (folder / "checkpoints").iterdir()} > {"1", "2", ".partial-3"}
    resumed = trained(config, resumed=folder)
    assert rows(resumed.folder) == rows(whole.folder)
    assert same_arrays(resumed.folder, whole.folder)


@pytest.mark.slow
def test_kills_at_random_moments(config, tmp_path):
    """Twelve SIGKILLs, most of them while a checkpoint is written, and two SIGTERMs."""
    long = msgspec.structs.replace(config, epochs=150, runs=str(tmp_path / "killed"))
    wanted = trained(long, runs=str(tmp_path / "whole"))
    (tmp_path / "killed").mkdir()
    seed = time.time_ns() % 2**32
    print(f"random.Random({seed}) chooses the moments")  # shown where the test fails
    generator, torn, kills = random.Random(seed), 0, 0
    arguments, folder = command(long), None
    while True:
        process = subprocess.Popen(
            [sys.executable, DRIVER, "nowhere", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        line = next((line for line in process.stdout or () if line.startswith("epoch ")), "")
        if line and kills < 14:
            time.sleep(generator.uniform(0, 0.6))
            process.send_signal(signal.SIGTERM if kills % 6 == 5 else signal.SIGKILL)
        output = process.communicate()[0]
        (folder,) = [path for path in (tmp_path / "killed").iterdir() if path.is_dir()]
        arguments = ["train", "--resume", str(folder)]
        if process.returncode == 0:
            break
        assert process.returncode in (-signal.SIGKILL, 143), output
        kills += 1
        torn += any(path.name.startswith(".") for path in (folder / "checkpoints").iterdir())
    assert kills >= 10
    assert torn
    print(f"{kills} kills, {torn} of them in the middle of a write", os.linesep)
    assert rows(folder) == rows(wanted.folder)
    assert same_arrays(folder, wanted.folder)
