"""Two processes never train into the same run folder, and one that was killed does not keep others out."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jax.experimental import multihost_utils

from jbackprop import cli
from jbackprop.training import distributed, lock, run
from jbackprop.training.config import Config, Data, Network
from jbackprop.training.run_error import RunError

HERE = Path(__file__).parents[2]


def test_it_is_held_once_and_given_back(tmp_path):
    with lock.locked(tmp_path), pytest.raises(RunError, match=rf"{tmp_path} is in use: another process is training"):
        lock.locked(tmp_path).__enter__()
    with lock.locked(tmp_path):
        pass


def test_it_is_given_back_when_training_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), lock.locked(tmp_path):
        raise KeyboardInterrupt
    with lock.locked(tmp_path):
        pass


def test_a_process_that_was_killed_keeps_nobody_out(tmp_path):
    program = f"""
import signal
from pathlib import Path
from jbackprop.training import lock
with lock.locked(Path({str(tmp_path)!r})):
    print("held", flush=True)
    signal.pause()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=HERE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(RunError, match="is in use"):
        lock.locked(tmp_path).__enter__()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with lock.locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"file cannot be locked \("), lock.locked(tmp_path / "file"):
        pass


def test_resuming_a_run_that_is_training_is_refused_before_its_data_are_read(tmp_path, capsys):
    run.save_config(tmp_path, Config(network=Network(hidden=(4,)), data=Data(name="mnist", dir="/none")))
    with lock.locked(tmp_path):
        before = {path.name for path in tmp_path.iterdir()}
        assert cli.main(["train", "--resume", str(tmp_path)]) == 2
        assert {path.name for path in tmp_path.iterdir()} == before
    error = capsys.readouterr().err
    assert error == f"jbackprop train: {tmp_path} is in use: another process is training into it\n"


def test_a_refusal_by_process_0_is_that_of_every_process(tmp_path, monkeypatch):
    said = []

    def broadcast(value):
        said.append(value if distributed.writes() else said[-1])
        return said[-1]

    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", broadcast)
    with lock.locked(tmp_path):
        for first in (True, False):
            monkeypatch.setattr(distributed, "writes", lambda first=first: first)
            with pytest.raises(RunError, match=f"{tmp_path} is in use"):
                distributed.locked(tmp_path).__enter__()
    for first in (True, False):
        monkeypatch.setattr(distributed, "writes", lambda first=first: first)
        assert distributed.shared_folder(lambda: tmp_path / "ü") == tmp_path / "ü"
    monkeypatch.setattr(distributed, "writes", lambda: True)
    with distributed.locked(tmp_path), pytest.raises(RunError, match="is in use"):
        lock.locked(tmp_path).__enter__()
