"""A run that is stopped, killed or damaged goes on bit for bit, or says why it cannot."""

import io
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from jbackprop import cli
from jbackprop.training import checkpoint, finish, record, resume
from jbackprop.training import checkpoint_files as files
from jbackprop.training import config as configs
from jbackprop.training import train as trains
from jbackprop.training.config import Config, ConfigError, Data, Network, Optimizer
from jbackprop.training.interrupt import Terminated, interruptible
from jbackprop.training.run import RunError
from jbackprop.training.summary import FILES

TIMES = {"seconds", "samples_per_second"}
EPOCHS = 6
DRIVER = Path(__file__).with_name("killed_run.py")


def rows(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def same_arrays(one: Path, other: Path) -> bool:
    with np.load(one / "params.npz") as a, np.load(other / "params.npz") as b:
        return a.files == b.files and all(a[key].tobytes() == b[key].tobytes() for key in a.files)


@pytest.fixture(autouse=True, scope="module")
def quick(built_once):
    """No plots, a checkpoint after every epoch, and each configuration compiled once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finish, "_plot_run", lambda *arguments: None)
        patch.setattr(finish, "_compare", lambda *arguments: None)
        patch.setattr(finish, "_save", lambda *arguments: None)
        patch.setattr(record, "Writer", lambda *arguments: checkpoint.Writer(*arguments, share=float("inf")))
        yield


@pytest.fixture(scope="module")
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


def trained(config: Config, stop=lambda: False, resumed: Path | None = None, **changes) -> finish.Result:
    chosen = msgspec.structs.replace(config, **changes)
    return trains.train(chosen, Console(file=io.StringIO()), stop, resumed)


@pytest.fixture(scope="module")
def whole(config) -> finish.Result:
    return trained(config)


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    """The folder of a run that may be damaged."""
    return Path(shutil.copytree(whole.folder, tmp_path / "copy"))


def stop_after(calls: int):
    """A stop that is asked for so many times in vain."""
    counter = itertools.count(1)
    return lambda: next(counter) > calls


@pytest.mark.parametrize(("loop", "calls"), [("scan", 3), ("scan", 9), ("steps", 60)])
def test_what_is_stopped_goes_on_bit_for_bit(config, whole, loop, calls):
    if loop == "steps":
        whole = trained(config, loop=loop)
    stopped = trained(config, stop_after(calls), loop=loop)
    assert stopped.ended
    assert stopped.ended.startswith("stopped by Ctrl-C")
    resumed = trained(config, resumed=stopped.folder, loop=loop)
    assert resumed.ended is None
    assert rows(resumed.folder) == rows(whole.folder)
    assert same_arrays(resumed.folder, whole.folder)
    assert resumed.certificate == whole.certificate


def test_a_stop_in_the_middle_of_an_epoch_keeps_its_steps(config):
    stopped = trained(config, stop_after(9), loop="steps")
    newest = files.names(stopped.folder / "checkpoints")[0]
    assert newest == "0+7"
    assert f"after 0 of {EPOCHS} epochs and 7 steps" in str(stopped.ended)
    assert not (stopped.folder / "metrics.jsonl").exists()


def test_a_longer_run_is_a_short_one_and_the_rest(config, whole):
    short = trained(config, epochs=2)
    longer = trained(config, resumed=short.folder)
    assert rows(longer.folder) == rows(whole.folder)
    assert configs.read(longer.folder / "config.toml").epochs == EPOCHS


def test_the_last_checkpoints_and_the_best_are_kept(whole):
    folder = whole.folder / "checkpoints"
    best = files.best(folder)
    accuracies = [row.test_accuracy for row in whole.metrics]
    assert best
    assert best == {"checkpoint": str(1 + int(np.argmax(accuracies))), "test_accuracy": max(accuracies)}
    assert {path.name for path in folder.iterdir()} == {"4", "5", "6", best["checkpoint"], "best.json"}


def test_an_older_better_checkpoint_outlives_the_last_ones(tmp_path):
    for name in ("1", "2", "3", "3+5", ".partial-4", ".removed-0"):
        (tmp_path / name).mkdir()
    files.mark_best(tmp_path, "1", 0.9)
    files.mark_best(tmp_path, "2", 0.9)
    files.remove_old(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"1", "3+5", "best.json"}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped bit": flip,
    "a truncated file": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "an empty file": lambda path: path.write_bytes(b""),
    "a missing file": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["arrays", "progress.json", "checksums.json"])
def test_damage_is_found(copy, whole, damage, which):
    path = copy / "checkpoints" / "6"
    largest = max((one for one in path.rglob("*") if one.is_file()), key=lambda one: "/d/" in str(one))
    DAMAGES[damage](largest if which == "arrays" else path / which)
    with pytest.raises(files.Damaged, match=r"6 is damaged \(.*(missing|not what was written|Error)"):
        files.verify(path)


def test_instead_of_a_damaged_checkpoint_the_one_before_is_used(config, whole, copy):
    flip(copy / "checkpoints" / "6" / "progress.json")
    shutil.rmtree(copy / "checkpoints" / "5" / "arrays")
    with pytest.warns(UserWarning, match="is damaged") as warned:
        resumed = trained(config, resumed=copy)
    words = [str(warning.message) for warning in warned]
    assert [word.startswith(str(copy / "checkpoints" / name)) for word, name in zip(words, "65", strict=True)]
    assert all(word.endswith(f"using {copy / 'checkpoints' / '4'}, the one before it") for word in words)
    assert rows(resumed.folder) == rows(whole.folder)
    assert same_arrays(resumed.folder, whole.folder)
    files.verify(copy / "checkpoints" / "6")


def test_a_damaged_checkpoint_is_set_aside_and_stays_so(tmp_path):
    for name in ("1", "2", "3", ".damaged-3"):
        (tmp_path / name).mkdir()
    files.set_aside_after(tmp_path, "1")
    files.remove_old(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"1", ".damaged-2", ".damaged-3", ".damaged-3-2"}


def forbidden(*arguments):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("failing", ["digest", "load", "data"])
def test_what_is_refused_leaves_every_checkpoint(config, copy, monkeypatch, failing):
    from orbax.checkpoint import v1 as ocp

    if failing == "digest":
        monkeypatch.setattr(files, "_sha256", forbidden)
    elif failing == "load":
        monkeypatch.setattr(ocp, "load", forbidden)
    else:
        monkeypatch.setattr(resume, "_digest", lambda dataset: "other")
        flip(copy / "checkpoints" / "6" / "progress.json")
    before = {path.name for path in (copy / "checkpoints").iterdir()}
    damaged = pytest.warns(UserWarning, match="is damaged") if failing == "data" else nullcontext()
    with damaged, pytest.raises(RunError, match="not as the run was trained" if failing == "data" else "Permission"):
        trained(config, resumed=copy)
    assert {path.name for path in (copy / "checkpoints").iterdir()} == before


def test_with_no_checkpoint_left_it_starts_from_the_beginning(config, whole, copy):
    for name in files.names(copy / "checkpoints"):
        (copy / "checkpoints" / name / "checksums.json").unlink()
    with pytest.warns(UserWarning, match="no other one is left: starting from the beginning"):
        resumed = trained(config, resumed=copy)
    assert rows(resumed.folder) == rows(whole.folder)


def test_rows_after_the_checkpoint_and_a_torn_line_are_dropped(config, whole, copy):
    files.remove(copy / "checkpoints" / "6")
    with open(copy / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 7, "lo')
    assert rows(trained(config, resumed=copy).folder) == rows(whole.folder)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (["--network.hidden", "32"], r"network.hidden: .* was trained with \[16\], not \[32\]"),
        (["--data.name", "mnist"], "data.name: .* was trained with digits, not mnist"),
        (["--optimizer.learning-rate", "0.3"], "optimizer.learning_rate: .* was trained with 0.2, not 0.3"),
        (["--seed", "1"], "seed: .* was trained with 0, not 1"),
        (["--batch-size", "16"], "batch_size"),
        (["--epochs", "3"], "epochs: .* has done 6 epochs already, more than 3"),
    ],
)
def test_another_training_is_refused_by_name(whole, capsys, override, words):
    assert cli.main(["train", "--resume", str(whole.folder), *override]) == 2
    assert re.search(f"command line: {words}", capsys.readouterr().err)


def test_another_configuration_file_is_refused_by_name(whole, capsys, tmp_path):
    (tmp_path / "other.toml").write_text("epochs = 7\n[network]\nname = 'mlp'\n")
    assert cli.main(["train", str(tmp_path / "other.toml"), "--resume", str(whole.folder)]) == 2
    error = capsys.readouterr().err
    assert "other.toml: " in error
    assert str(whole.folder) in error


def test_a_stretched_schedule_is_not_made_longer(config, tmp_path):
    cosine = msgspec.structs.replace(config, optimizer=Optimizer(schedule="cosine"))
    with pytest.raises(ConfigError, match=r"epochs: the learning rate's cosine is stretched over the 6 epochs"):
        resume.check(tmp_path, cosine, msgspec.structs.replace(cosine, epochs=9))


def test_a_finished_run_says_so(whole, capsys):
    assert cli.main(["train", "--resume", str(whole.folder)]) == 0
    assert f"has finished its {EPOCHS} epochs" in capsys.readouterr().out


def test_a_longer_run_that_is_killed_is_not_taken_for_finished(config, copy, monkeypatch):
    for name in set(finish.AT_THE_END) - {"summary.json"}:
        (copy / name).touch()

    def killed(*arguments):
        raise Terminated

    monkeypatch.setattr(trains, "_fit", killed)
    with pytest.raises(Terminated):
        trained(config, resumed=copy, epochs=EPOCHS + 1)
    assert not {path.name for path in copy.iterdir()} & set(finish.AT_THE_END)
    assert set(FILES) - set(finish.AT_THE_END) == {"config.toml", "metrics.jsonl", "checkpoints"}


def test_a_summary_of_fewer_epochs_does_not_finish_a_run(config, copy):
    with pytest.raises(resume.Finished):
        resume.check(copy, config, config)
    os.rename(copy / "checkpoints" / "6", copy / "checkpoints" / "7")
    longer = msgspec.structs.replace(config, epochs=7)
    resume.check(copy, longer, longer)


@pytest.mark.parametrize("made", ["nothing", "file", "empty", "parent"])
def test_what_is_no_run_is_named(whole, tmp_path, capsys, made):
    folder = tmp_path / "place"
    if made == "file":
        folder.touch()
    elif made == "empty":
        folder.mkdir()
    elif made == "parent":
        folder = whole.folder.parent
    wanted = {"nothing": "no such folder", "file": "not a folder", "empty": "not the folder of a run"}
    assert cli.main(["train", f"--resume={folder}"]) == 2
    assert wanted.get(made, "did you mean") in capsys.readouterr().err


def test_the_summary_is_told_the_command(whole, monkeypatch):
    given = []

    def told(*arguments):
        given.append(arguments[-1])
        raise RunError("enough")

    monkeypatch.setattr(trains, "train", told)
    assert cli.main(["train", str(whole.folder / "config.toml"), "--epochs", "9", "--name", "a run"]) == 2
    assert given == [f"jbackprop train {whole.folder / 'config.toml'} --epochs 9 --name 'a run'"]


def test_resume_without_a_folder_is_misuse(capsys):
    assert cli.main(["train", "--resume"]) == 2
    assert "--resume needs the folder of a run" in capsys.readouterr().err


def test_other_data_and_other_versions(config, copy, monkeypatch):
    monkeypatch.setattr(resume, "_digest", lambda dataset: "other")
    with pytest.raises(RunError, match="the images or labels of digits: not as the run was trained"):
        trained(config, resumed=copy)
    monkeypatch.undo()
    monkeypatch.setattr(resume, "versions", lambda: {"jax": "9.9"})
    with pytest.warns(UserWarning, match=r"was trained with jax .* \(here 9.9\): it goes on, but not bit for bit"):
        trained(config, resumed=copy)


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


def test_a_second_sigterm_stops_at_once(capfd):
    before = signal.getsignal(signal.SIGTERM)
    with interruptible() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop()
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_before_the_first_step_leaves_no_folder(config, tmp_path):
    with interruptible() as stop:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Terminated):
            trained(config, stop, runs=str(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_without_checkpoints_a_run_starts_again(config, whole):
    stopped = trained(config, stop_after(9), checkpoint_every=0)
    assert not (stopped.folder / "checkpoints").exists()
    assert not stopped.resumable
    assert rows(trained(config, resumed=stopped.folder).folder) == rows(whole.folder)


def test_checkpoints_take_a_small_share_of_the_time(tmp_path):
    writer = checkpoint.Writer(tmp_path, every=2, keep=1, share=0.05)
    assert [writer.due(epoch, last=False) for epoch in (1, 2, 3)] == [False, True, False]
    writer._took, writer._done = 1000.0, time.perf_counter()
    assert not writer.due(2, last=False)
    assert writer.due(2, last=True)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def command(config: Config) -> list[str]:
    path = Path(config.runs) / "config.toml"
    path.write_text(configs.to_toml(config))
    return ["train", str(path)]


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
    generator, torn, kills = random.Random(time.time()), 0, 0
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
        if process.returncode in (0, 1) or (not line and process.returncode == 0):
            break
        assert process.returncode in (-signal.SIGKILL, 143), output
        kills += 1
        torn += any(path.name.startswith(".") for path in (folder / "checkpoints").iterdir())
    assert kills >= 10
    assert torn
    print(f"{kills} kills, {torn} of them in the middle of a write", os.linesep)
    assert rows(folder) == rows(wanted.folder)
    assert same_arrays(folder, wanted.folder)
