"""One run by several processes: how they find one another, train, and what happens when one is killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from jax.experimental import multihost_utils

from jbackprop.training import distributed, interrupt
from jbackprop.training.config import ConfigError, Distributed
from jbackprop.training.interrupt import Request

HERE = Path(__file__).parents[2]
PAIR = {"coordinator": "10.0.0.1:1234", "processes": 2, "process": 1}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in (distributed.ADDRESS, distributed.PROCESSES, distributed.PROCESS):
        monkeypatch.delenv(name, raising=False)


def test_without_a_coordinator_there_is_one_process():
    assert distributed.given(Distributed()) is None


def test_what_no_flag_gives_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv(distributed.ADDRESS, "10.0.0.1:1234")
    monkeypatch.setenv(distributed.PROCESSES, "4")
    monkeypatch.setenv(distributed.PROCESS, "3")
    assert distributed.given(Distributed()) == Distributed(coordinator="10.0.0.1:1234", processes=4, process=3)
    assert distributed.given(Distributed(process=2)) == Distributed(coordinator="10.0.0.1:1234", processes=4, process=2)


@pytest.mark.parametrize(
    ("fields", "key", "words"),
    [
        ({"processes": 2}, "processes", "where is the coordinator?"),
        (PAIR | {"coordinator": "10.0.0.1"}, "coordinator", "expected host:port, got '10.0.0.1'"),
        (PAIR | {"process": 2}, "process", "2 of 2; they are 0 to 1"),
        (PAIR | {"processes": None}, "processes", "not given, and JAX_NUM_PROCESSES is not set"),
        (PAIR | {"process": None}, "process", "not given, and JAX_PROCESS_ID is not set"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields, key, words):
    with pytest.raises(ConfigError, match=rf"^distributed\.{key}: {re.escape(words)}") as error:
        distributed.given(Distributed(**fields))
    assert error.value.key == f"distributed.{key}"


def test_a_variable_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv(distributed.PROCESSES, "two")
    with pytest.raises(ConfigError, match=r"distributed\.processes: JAX_NUM_PROCESSES is 'two', no number"):
        distributed.given(Distributed(coordinator="10.0.0.1:1234"))


def test_an_error_of_the_other_process_says_how_to_go_on(monkeypatch, tmp_path):
    gloo = "UNKNOWN: Gloo all-reduce failed: [external/gloo/pair.cc:547] Connection closed by peer [127.0.0.1]:9\n"
    with pytest.raises(ValueError, match="Gloo"), distributed.watched(tmp_path):
        raise ValueError(gloo)  # one process has no other
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    with pytest.raises(distributed.LostError) as error, distributed.watched(tmp_path):
        raise ValueError(gloo)
    assert "(Gloo all-reduce failed: Connection closed by peer [127.0.0.1]:9)" in str(error.value)
    assert str(error.value).endswith(f"jbackprop train --resume {tmp_path}")
    with pytest.raises(ValueError, match="my own"), distributed.watched(tmp_path):
        raise ValueError("my own mistake")


def test_one_process_agrees_with_itself(tmp_path):
    stop = Request()
    assert distributed.agreed(stop) is stop
    assert distributed.of_first(True)
    assert distributed.shared_folder(lambda: tmp_path) == tmp_path
    with distributed.own_folder(tmp_path) as folder:
        assert folder == tmp_path


def test_all_processes_are_asked_to_stop_by_the_signal_that_one_of_them_got(monkeypatch):
    here, others = Request(), [0]
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda number: np.array([number, *others]))
    stop = distributed.agreed(here)
    assert not stop()
    others[0] = int(signal.SIGTERM)
    assert not interrupt.terminated(stop)  # until they ask together
    assert stop()
    assert interrupt.terminated(stop)
    assert here.signal is None


CONFIG = """
epochs = {epochs}
batch_size = 40
agreement_epochs = 0
checkpoint_every = {every}
[network]
name = "mlp"
hidden = [16, 8]
[data]
dir = '{data}'
[optimizer]
name = "momentum"
learning_rate = 0.05
[mesh]
data = 2
fsdp = true
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(*arguments: str, log: Path, devices: int = 1) -> subprocess.Popen:
    with open(log, "w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "jbackprop", "train", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=HERE,
            env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(HERE), "JAX_NUM_CPU_DEVICES": str(devices)},
        )


def start_two(config: Path, runs: Path) -> list[subprocess.Popen]:
    address = ("--distributed.coordinator", f"127.0.0.1:{free_port()}", "--distributed.processes", "2")
    return [
        start(*map(str, (config, "--runs", runs, *address, "--distributed.process", i)), log=runs.parent / f"{i}.log")
        for i in (0, 1)
    ]


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def wait_for(path: Path, pattern: str, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not list(path.glob(pattern)):
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < end, f"no {pattern} after {seconds} s"
        time.sleep(0.05)


@pytest.fixture
def processes():
    started: list[subprocess.Popen] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_two_processes_train_as_two_devices_do(tmp_path, data_folder, processes):
    config = tmp_path / "two.toml"
    config.write_text(CONFIG.format(epochs=3, every=1, data=data_folder))
    processes += start_two(config, tmp_path / "runs")
    processes.append(start(str(config), "--runs", str(tmp_path / "alone"), log=tmp_path / "alone.log", devices=2))
    codes = [process.wait(timeout=240) for process in processes]
    assert codes == [0, 0, 0], (tmp_path / "0.log").read_text()
    (run,), (alone,) = (list((tmp_path / name).iterdir()) for name in ("runs", "alone"))
    assert len(losses(run)) == 3
    assert losses(run) == pytest.approx(losses(alone), rel=1e-6)
    ours = {path.name for path in run.iterdir() if not path.name.startswith("events")}
    assert ours == {path.name for path in alone.iterdir() if not path.name.startswith("events")}


@pytest.mark.slow
def test_sigterm_in_one_stops_all_with_a_checkpoint(tmp_path, data_folder, processes):
    config = tmp_path / "two.toml"
    config.write_text(CONFIG.format(epochs=100_000, every=100_000, data=data_folder))
    processes += start_two(config, tmp_path / "runs")
    wait_for(tmp_path, "runs/*/metrics.jsonl", processes[0])
    processes[1].send_signal(signal.SIGTERM)
    assert [process.wait(timeout=120) for process in processes] == [143, 143], (tmp_path / "0.log").read_text()
    (run,) = (tmp_path / "runs").iterdir()
    last = max(int(path.name.partition("+")[0]) for path in (run / "checkpoints").glob("[0-9]*"))
    assert len(losses(run)) == last > 0  # no other checkpoint is due


@pytest.mark.slow
def test_when_one_is_killed_the_other_ends_and_another_number_of_processes_goes_on(tmp_path, data_folder, processes):
    config = tmp_path / "two.toml"
    config.write_text(CONFIG.format(epochs=100_000, every=100, data=data_folder))
    first, second = started = start_two(config, tmp_path / "runs")
    processes += started
    wait_for(tmp_path, "runs/*/checkpoints/100", first)
    second.send_signal(signal.SIGKILL)
    assert first.wait(timeout=60) == 1
    log = (tmp_path / "0.log").read_text()
    (run,) = (tmp_path / "runs").iterdir()
    assert "another process of this run has ended (Gloo" in log
    assert log.strip().endswith(f"jbackprop train --resume {run}")
    before = losses(run)[:100]
    alone = start(
        *("--resume", str(run), "--epochs", "102", "--mesh.data", "1", "--mesh.no-fsdp"), log=tmp_path / "alone.log"
    )
    processes.append(alone)
    alone.wait(timeout=240)
    assert "going on after 100 of 102 epochs" in (tmp_path / "alone.log").read_text()
    assert losses(run)[:100] == before
    assert len(losses(run)) == 102
