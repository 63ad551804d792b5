"""A disk that is full, or refuses to write for another reason, ends a run with a sentence and its checkpoints."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from jbackprop.training import checkpoint, run
from jbackprop.training import checkpoint_files as files
from jbackprop.training import config as configs
from jbackprop.training.checkpoint import Checkpoint
from jbackprop.training.config import Config, Data, Network
from jbackprop.training.loop import beginning
from jbackprop.training.run_error import RunError

HERE = Path(__file__).parents[2]
PROGRAM = """
import resource, signal, sys
from jbackprop import cli
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_run_that_cannot_write_its_checkpoint_says_so_in_a_line(tmp_path, data_folder):
    config = Config(network=Network(hidden=(256,)), data=Data(dir=str(data_folder)), runs=str(tmp_path / "runs"))
    (tmp_path / "my.toml").write_text(configs.to_toml(msgspec.structs.replace(config, epochs=2, agreement_epochs=0)))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "train", str(tmp_path / "my.toml")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(HERE), "JAX_PLATFORMS": "cpu"},
    )
    (folder,) = (tmp_path / "runs").iterdir()
    assert done.returncode == 2
    assert done.stderr == (
        f"jbackprop train: {folder / 'checkpoints' / '1'}: File too large. The run has ended; "
        f"it goes on with jbackprop train --resume {folder}\n"
    )
    assert not files.names(folder / "checkpoints")


def test_what_the_system_refuses_to_the_writer_of_arrays_is_its_error(tmp_path, built, monkeypatch, caplog):
    from orbax.checkpoint import v1 as ocp

    said = ["OUT_OF_RANGE: Failed writing: File too large [os_error_code='27']", "tree structures do not match"]

    def refuse(*arguments):
        logging.getLogger("absl").critical("a traceback of orbax")
        raise ValueError(said[0])

    monkeypatch.setattr(ocp, "save", refuse)
    start = Checkpoint(beginning(built(Config(network=Network(hidden=(4,)))), 0))
    with pytest.raises(OSError, match="File too large") as error:
        checkpoint.write(tmp_path, start)
    assert (error.value.errno, error.value.filename) == (27, str(tmp_path / "0"))
    said.pop(0)
    with pytest.raises(ValueError, match="do not match"):
        checkpoint.write(tmp_path, start)
    assert not files.names(tmp_path)
    assert not caplog.records


def test_another_file_of_the_run_is_named_too(tmp_path):
    path = tmp_path / "metrics.jsonl"
    words = rf"{path}: No space left on device\. The run has ended"
    with pytest.raises(RunError, match=words), run.writable(tmp_path):
        raise OSError(28, "No space left on device", str(path))
