"""Two processes never train into the same run folder, and one that was killed does not keep others out."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from jax.experimental import multihost_utils

from jbackprop import cli
from jbackprop.training import distributed, lock, run
from jbackprop.training.config import Config, Data, Network
from jbackprop.training.run import RunError

HERE = Path(__file__).parents[2]


def write(folder: Path, **changes) -> None:
    holder = {"pid": os.getpid(), "born": psutil.Process().create_time(), "host": socket.gethostname()}
    (folder / lock.LOCK).write_text(json.dumps(holder | changes))


def test_it_is_held_once_and_given_back(tmp_path):
    with lock.locked(tmp_path):
        with pytest.raises(RunError, match=rf"{tmp_path} is in use: process {os.getpid()} is training into it"):
            lock.locked(tmp_path).__enter__()
        assert (tmp_path / lock.LOCK).exists()
    assert not list(tmp_path.iterdir())


def test_it_is_given_back_when_training_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), lock.locked(tmp_path):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from jbackprop.training import lock
with lock.locked(Path({str(tmp_path)!r})):
    print("held", flush=True)
    signal.pause()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=HERE)
    assert process.stdout
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(RunError, match=f"process {process.pid} is training into it"):
        lock.locked(tmp_path).__enter__()
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and its number is not free yet
    with lock.locked(tmp_path):
        assert json.loads((tmp_path / lock.LOCK).read_text())["pid"] == os.getpid()
    process.stdout.close()
    process.wait()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("left", ["another of the same number", "a torn one", "no object", "an empty one"])
def test_a_lock_that_nobody_holds_is_taken_over(tmp_path, left, monkeypatch):
    monkeypatch.setattr(lock, "WRITTEN_WITHIN", 0.0)
    if left == "another of the same number":
        write(tmp_path, born=1.0)
    else:
        (tmp_path / lock.LOCK).write_text({"a torn one": '{"pid": 1', "no object": "[1]"}.get(left, ""))
    with lock.locked(tmp_path):
        assert json.loads((tmp_path / lock.LOCK).read_text())["pid"] == os.getpid()


def test_of_two_that_take_over_at_once_one_is_refused(tmp_path, monkeypatch):
    write(tmp_path, born=1.0)
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: write(tmp_path, pid=os.getppid()))
    with pytest.raises(RunError, match=f"process {os.getppid()} is training into it"), lock.locked(tmp_path):
        pass
    assert json.loads((tmp_path / lock.LOCK).read_text())["pid"] == os.getppid()


def test_a_process_of_another_machine_is_believed_to_live(tmp_path):
    write(tmp_path, host="elsewhere", pid=2**22 + 1)
    words = f"on elsewhere is training into it; if that one has ended, remove {tmp_path / lock.LOCK}"
    with pytest.raises(RunError, match=re.escape(words)), lock.locked(tmp_path):
        pass
    assert (tmp_path / lock.LOCK).exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(RunError, match=r"nowhere cannot be locked \(No such file"), lock.locked(tmp_path / "nowhere"):
        pass


def test_resuming_a_run_that_is_training_is_refused_before_its_data_are_read(tmp_path, capsys):
    run.save_config(tmp_path, Config(network=Network(hidden=(4,)), data=Data(name="mnist", dir="/none")))
    with lock.locked(tmp_path):
        before = {path.name for path in tmp_path.iterdir()}
        assert cli.main(["train", "--resume", str(tmp_path)]) == 2
        assert {path.name for path in tmp_path.iterdir()} == before
    error = capsys.readouterr().err
    assert error == f"jbackprop train: {tmp_path} is in use: process {os.getpid()} is training into it\n"


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
            with pytest.raises(RunError, match=f"{tmp_path} is in use: process {os.getpid()}"):
                distributed.locked(tmp_path).__enter__()
    for first in (True, False):
        monkeypatch.setattr(distributed, "writes", lambda first=first: first)
        assert distributed.shared_folder(lambda: tmp_path / "ü") == tmp_path / "ü"
    monkeypatch.setattr(distributed, "writes", lambda: True)
    with distributed.locked(tmp_path):
        assert (tmp_path / lock.LOCK).exists()
    assert not list(tmp_path.iterdir())
