"""What is missing from a run is said on the page on it; what is damaged, or no run at all, is refused by name."""

import json

import numpy as np
import pytest
from report_probes import ROW, absent, page

from jbackprop import cli
from jbackprop.training.config import Data
from jbackprop.training.report_curves import panels
from jbackprop.training.saved_run import read_run


def test_an_interrupted_run_shows_what_there_is(made_run):
    folder = made_run(epochs=9, rows=[{"epoch": 1, **ROW}])
    (folder / "params.npz").unlink()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "los')
    shown = page(absent, folder)
    for words in ("1 of 9", "its last line was cut off", "The run has no params.npz", "85.00%"):
        assert words in shown.words
    (folder / "metrics.jsonl").unlink()
    assert "No epoch was finished." in page(absent, folder).words


def test_a_loss_that_is_not_finite_is_no_error(made_run):
    rows = [{"epoch": 1, **ROW}, {"epoch": 2, **ROW, "loss": None, "test_loss": None, "test_accuracy": None}]
    shown = page(absent, made_run(epochs=2, rows=rows))
    assert "not finite" in shown.words
    nothing = [{"epoch": 1, "loss": None, "test_loss": None, "test_accuracy": None, "train_accuracy": None}]
    assert not list(panels([read_run(made_run("nan", rows=nothing))]))


def test_parameters_that_are_not_finite_are_named(made_run, load_small):
    folder = made_run()
    arrays = dict(np.load(folder / "params.npz"))
    np.savez(folder / "params.npz", **arrays | {"w1": np.full_like(arrays["w1"], np.nan)})
    shown = page(load_small, folder)
    assert "The parameters w1 hold values that are not finite." in shown.words
    assert "Worst mistakes" not in shown.words


def test_data_that_cannot_be_loaded_are_said_and_the_kept_counts_shown(made_run):
    folder = made_run(data=Data(name="mnist"))
    (folder / "summary.json").write_text(json.dumps({"confusion": np.diag(range(1, 11)).tolist(), "ended": "a stop"}))

    shown = page(absent, folder)
    assert "The data cannot be loaded, so that no test image can be shown: mnist: put the files there" in shown.words
    assert "55 of 55 test images right" in shown.words
    assert "Ended early: a stop" in shown.words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: damaged"),
        ('{"loss": 1.0}', "line 2: damaged (no object with a whole number `epoch`)"),
        ("[1]", "line 2: damaged"),
        ('{"epoch": 2, "loss": "x"}', 'line 2: damaged (loss is "x", wanted a number)'),
        ("\udcff", "line 2: damaged"),
    ],
)
def test_a_damaged_line_is_named(made_run, capsys, line, words):
    folder = made_run(epochs=1)
    with open(folder / "metrics.jsonl", "a", errors="surrogateescape") as file:
        file.write(f"{line}\n")
    assert cli.main(["report", str(folder)]) == 2
    assert f"metrics.jsonl, {words}" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda arrays: arrays | {"w1": arrays["w1"][:3]}, "w1 is float32[3, 4], but the network of config.toml wants"),
        (lambda arrays: arrays | {"b2": arrays["b2"].astype(np.float64)}, "b2 is float64[10], but"),
        (lambda arrays: arrays | {"w9": arrays["w1"]}, "params.npz has the unknown w9"),
        (lambda arrays: {"w1": arrays["w1"]}, "params.npz lacks b1, b2, w2"),
        (None, "params.npz is damaged"),
    ],
)
def test_parameters_of_another_network_are_refused(made_run, capsys, change, words):
    folder = made_run()
    file = folder / "params.npz"
    if change:
        np.savez(file, **change(dict(np.load(file))))
    else:
        file.write_bytes(file.read_bytes()[:-40])
    assert cli.main(["report", str(folder)]) == 2
    assert words in capsys.readouterr().err


def test_what_is_no_run_is_refused(made_run, tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.main(["report", str(tmp_path / "empty")]) == 2
    assert "empty is not the folder of a run: it has no config.toml" in capsys.readouterr().err
    folder = made_run()
    assert cli.main(["report", str(tmp_path)]) == 2
    assert f"did you mean {folder}?" in capsys.readouterr().err
    (folder / "summary.json").write_text("[]")
    assert cli.main(["report", str(folder)]) == 2
    assert "summary.json: damaged (wanted an object)" in capsys.readouterr().err
