"""What cannot go on says why: another training, other data, no run, or a run that is finished."""

import os
import re

import msgspec
import pytest

from jbackprop import cli
from jbackprop.training import finish, resume
from jbackprop.training import train as trains
from jbackprop.training import trainer as trainers
from jbackprop.training.config import ConfigError, Optimizer
from jbackprop.training.interrupt import Terminated
from jbackprop.training.run_error import RunError
from jbackprop.training.summary import FILES

from .resumable import EPOCHS, trained


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


def test_other_data_and_other_versions(config, copy, monkeypatch):
    monkeypatch.setattr(resume, "_digest", lambda dataset: "other")
    with pytest.raises(RunError, match="the images or labels of digits: not as the run was trained"):
        trained(config, resumed=copy)
    monkeypatch.undo()
    monkeypatch.setattr(resume, "versions", lambda: {"jax": "9.9"})
    with pytest.warns(UserWarning, match=r"was trained with jax .* \(here 9.9\): it goes on, but not bit for bit"):
        trained(config, resumed=copy)


def test_other_compiler_options_are_named(config, copy, monkeypatch):
    build = trainers.build
    monkeypatch.setattr(trainers, "build", lambda *given: build(*given)._replace(compiler="threaded"))
    with pytest.warns(UserWarning, match=r"with compiler options default \(here threaded\): .* not bit for bit"):
        trained(msgspec.structs.replace(config, compiler="threaded"), resumed=copy)


def test_a_run_that_is_silent_about_compiler_options_had_none():
    here = {"jax": "1", "compiler options": "default"}
    assert resume._others({"jax": "1"}, here) == ""
    assert "compiler options default (here threaded)" in resume._others({}, here | {"compiler options": "threaded"})


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


def test_resume_without_a_folder_is_misuse(capsys):
    assert cli.main(["train", "--resume"]) == 2
    assert "--resume needs the folder of a run" in capsys.readouterr().err


def test_a_finished_run_says_so(whole, capsys):
    assert cli.main(["train", "--resume", str(whole.folder)]) == 0
    assert f"has finished its {EPOCHS} epochs" in capsys.readouterr().out


def test_a_longer_run_that_is_killed_is_not_taken_for_finished(config, copy, monkeypatch):
    (copy / ".partial-7-summary.json").write_text("{")
    for name in set(finish.AT_THE_END) - {"summary.json"}:
        (copy / name).touch()

    def killed(*arguments):
        raise Terminated

    monkeypatch.setattr(trains, "_fit", killed)
    with pytest.raises(Terminated):
        trained(config, resumed=copy, epochs=EPOCHS + 1)
    assert not {path.name for path in copy.iterdir()} & {*finish.AT_THE_END, ".partial-7-summary.json"}
    assert set(FILES) - set(finish.AT_THE_END) == {"config.toml", "metrics.jsonl", "checkpoints"}


def test_a_summary_of_fewer_epochs_does_not_finish_a_run(config, copy):
    with pytest.raises(resume.Finished):
        resume.check(copy, config, config)
    os.rename(copy / "checkpoints" / "6", copy / "checkpoints" / "7")
    longer = msgspec.structs.replace(config, epochs=7)
    resume.check(copy, longer, longer)
