"""The page on a training run or several: what is on it, what is missing from a run, and folders that are no run."""

import json
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jbackprop import cli
from jbackprop.training import model as models
from jbackprop.training import objective, run
from jbackprop.training.config import Config, Data, Network
from jbackprop.training.data import DataError
from jbackprop.training.evaluate import make_evaluate
from jbackprop.training.report import labels, report
from jbackprop.training.report_curves import curve, panels
from jbackprop.training.report_findings import confusion, findings, worst_mistakes
from jbackprop.training.saved_run import read_run

VOID = ("meta", "img", "br")
ROW = {"loss": 0.5, "train_accuracy": 0.9, "test_loss": 0.6, "test_accuracy": 0.85, "seconds": 0.01}


class Page(HTMLParser):
    """The elements of a page and its words; each element must be closed where it has to be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.codes: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data
        self.codes += [data] if self.open and self.open[-1] == "code" else []

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def params(small):
    """Random ones, of each network once."""
    return cache(lambda network: models.build(network, small).init(jax.random.key(0)))


@pytest.fixture
def made(tmp_path, data_folder, params):
    """Returns the function that writes the folder of a run with random parameters."""

    def make(name="a-run", epochs=3, rows=None, **settings) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        settings = {"network": Network(hidden=(4,)), "data": Data(dir=str(data_folder))} | settings
        config = Config(epochs=epochs, **settings)
        run.save_config(folder, config)
        run.save_params(folder, params(config.network))
        rows = [{"epoch": i, **ROW} for i in range(1, epochs + 1)] if rows is None else rows
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return folder

    return make


@pytest.fixture
def load(small):
    """In place of the data: 101 test images."""
    return lambda config: small


def absent(config):
    """For what needs no images, which cost a second of compilation."""
    raise DataError("mnist: put the files there")


def page(load, *folders: Path) -> Page:
    return Page(report([read_run(folder) for folder in folders], load))


def test_a_page_needs_nothing_else(made, load):
    shown = page(load, made())
    assert not shown.all("script")
    assert not shown.all("link")
    assert all((image["src"] or "").startswith("data:image/") for image in shown.all("img"))
    assert all((link["href"] or "").startswith("#run-") for link in shown.all("a"))
    text = " ".join(shown.words.split())
    assert "Confusion matrix" in text
    assert "@import" not in text
    assert "Loss against epoch" in text
    assert "two_layer" in text


def test_a_run_is_counted_again_in_its_own_precision(made, load, small):
    exact, rounded = made(), made("rounded", dtype="bfloat16")
    found = findings(read_run(rounded), load)
    model = objective.of_run(read_run(rounded).config, small)
    params: Any = dict(np.load(rounded / "params.npz"))
    assert found.confusion is not None
    np.testing.assert_array_equal(found.confusion, make_evaluate(model)(params, small.test).confusion)
    probabilities = [one.truth_probability for one in found.mistakes]
    assert probabilities != [one.truth_probability for one in findings(read_run(exact), load).mistakes]


def test_the_counts_are_those_of_the_network(made, load, small):
    folder = made()
    found = findings(read_run(folder), load)
    assert found.confusion is not None
    assert found.first_layer is not None
    params = dict(np.load(folder / "params.npz"))
    x = np.asarray(small.test.images).reshape(101, -1) / 16
    said = (1 / (1 + np.exp(-(x @ params["w1"] + params["b1"]))) @ params["w2"] + params["b2"]).argmax(-1)
    wrong = int((said != np.asarray(small.test.labels)).sum())
    assert (found.confusion.sum(), found.confusion.trace(), found.wrong) == (101, 101 - wrong, wrong)
    assert wrong > len(found.mistakes) == 24
    assert [mistake.truth_probability for mistake in found.mistakes] == sorted(
        m.truth_probability for m in found.mistakes
    )
    for mistake in found.mistakes:
        assert said[mistake.place] == mistake.said != mistake.truth
    assert found.first_layer.shape == (8, 8, 4)
    shown = page(load, folder)
    assert f"{101 - wrong} of 101 test images right" in shown.words
    assert f"24 of {wrong} wrong answers" in shown.words
    digits = [image for image in shown.all("img") if (image["alt"] or "").startswith("test image")]
    assert len(digits) == 24


def test_a_network_that_is_always_right_has_no_mistakes():
    labels, images = np.array([0, 1]), np.zeros((2, 4, 4, 1))
    assert worst_mistakes(images, labels, np.eye(2)) == ()
    assert confusion(labels, labels, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_seeds_are_a_mean_and_a_band(made):
    accuracies = {0: 0.8, 1: 0.9, 2: 0.94}
    rows = [{"seed": seed, "epoch": 1, **ROW, "test_accuracy": share} for seed, share in accuracies.items()]
    drawn = curve(rows, "test_accuracy")
    assert drawn.mean == pytest.approx([0.88])
    assert drawn.spread == pytest.approx([np.std([0.8, 0.9, 0.94], ddof=1)])
    shown = page(absent, made(epochs=1, rows=rows))
    assert "88.00% ± 7.21% (3 seeds)" in shown.words
    assert "the band is one standard deviation" in shown.words


def test_several_runs_are_side_by_side_with_what_differs(made):
    one = made("one", batch_size=16)
    two = made("two", batch_size=64, epochs=5, network=Network(name="mlp", hidden=(4, 4), activation="tanh"))
    shown = page(absent, one, two, made("three"))
    differing = {"network.name", "network.hidden", "network.activation", "batch_size", "epochs"}
    assert set(shown.codes) == differing
    assert [section["id"] for section in shown.all("section") if "id" in section] == ["run-1", "run-2", "run-3"]
    assert "Accuracy against time" in shown.words
    assert "Differences" not in page(absent, one).words


def test_runs_of_the_same_settings_have_no_differences(made):
    assert "None: all runs have the same settings." in page(absent, made("one"), made("two")).words


def test_an_odd_name_is_only_a_name(made):
    shown = page(absent, made('<b>&"$x_1$ \\alpha_'), made("_other"))
    assert '<b>&"$x_1$ \\alpha_' in shown.words
    assert not [tag for tag, _ in shown.elements if tag == "b" and tag in shown.open]


def test_runs_of_the_same_name_are_told_apart_by_their_path(made, tmp_path):
    first = made("one")
    (tmp_path / "other").mkdir()
    second = first.rename(tmp_path / "other" / "one")
    both = [read_run(second), read_run(made("one"))]
    assert labels(both) == [str(second), str(tmp_path / "one")]


def test_an_interrupted_run_shows_what_there_is(made):
    folder = made(epochs=9, rows=[{"epoch": 1, **ROW}])
    (folder / "params.npz").unlink()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "los')
    shown = page(absent, folder)
    for words in ("1 of 9", "its last line was cut off", "The run has no params.npz", "85.00%"):
        assert words in shown.words
    (folder / "metrics.jsonl").unlink()
    assert "No epoch was finished." in page(absent, folder).words


def test_a_loss_that_is_not_finite_is_no_error(made):
    rows = [{"epoch": 1, **ROW}, {"epoch": 2, **ROW, "loss": None, "test_loss": None, "test_accuracy": None}]
    shown = page(absent, made(epochs=2, rows=rows))
    assert "not finite" in shown.words
    nothing = [{"epoch": 1, "loss": None, "test_loss": None, "test_accuracy": None, "train_accuracy": None}]
    assert not list(panels([read_run(made("nan", rows=nothing))]))


def test_parameters_that_are_not_finite_are_named(made, load):
    folder = made()
    arrays = dict(np.load(folder / "params.npz"))
    np.savez(folder / "params.npz", **arrays | {"w1": np.full_like(arrays["w1"], np.nan)})
    shown = page(load, folder)
    assert "The parameters w1 hold values that are not finite." in shown.words
    assert "Worst mistakes" not in shown.words


def test_data_that_cannot_be_loaded_are_said_and_the_kept_counts_shown(made):
    folder = made(data=Data(name="mnist"))
    (folder / "summary.json").write_text(json.dumps({"confusion": np.diag(range(1, 11)).tolist(), "ended": "a stop"}))

    shown = page(absent, folder)
    assert "The data cannot be loaded, so that no test image can be shown: mnist: put the files there" in shown.words
    assert "55 of 55 test images right" in shown.words
    assert "Ended early: a stop" in shown.words


def test_the_summary_and_the_certificate_are_shown(made):
    folder = made(check_every=5)
    errors = {"explicit_error": 1.5e-7, "rules_error": 0.0}
    agreement = {"agree": True, "worst": errors, "parameters": {"w1": errors}}
    summary = {"command": "jbackprop train <x>", "device": "a device", "versions": {"jax": "0.0.1", "jbackprop": None}}
    (folder / "summary.json").write_text(json.dumps(summary | {"gradient_agreement": agreement}))
    shown = page(absent, folder)
    for words in ("jbackprop train <x>", "a device", "0.0.1", "1.5e-07", "it is written at the end of a run"):
        assert words in shown.words
    found = {"disagreement": 2.5e-7, "step": 3, "shape": [4], "verdict": "wrong"}
    certificate = {"verdict": "wrong", "largest": {"parameter": "b1", **found}, "parameters": {"b1": found}}
    (folder / "certificate.json").write_text(json.dumps(certificate))
    shown = page(absent, folder)
    assert "✗ wrong" in shown.words
    assert "at most 2.5e-07 of max|g| (b1, step 3)" in shown.words


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
def test_a_damaged_line_is_named(made, capsys, line, words):
    folder = made(epochs=1)
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
def test_parameters_of_another_network_are_refused(made, capsys, change, words):
    folder = made()
    file = folder / "params.npz"
    if change:
        np.savez(file, **change(dict(np.load(file))))
    else:
        file.write_bytes(file.read_bytes()[:-40])
    assert cli.main(["report", str(folder)]) == 2
    assert words in capsys.readouterr().err


def test_what_is_no_run_is_refused(made, tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "none")]) == 2
    assert "none: no such folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.main(["report", str(tmp_path / "empty")]) == 2
    assert "empty is not the folder of a run: it has no config.toml" in capsys.readouterr().err
    folder = made()
    assert cli.main(["report", str(tmp_path)]) == 2
    assert f"did you mean {folder}?" in capsys.readouterr().err
    (folder / "summary.json").write_text("[]")
    assert cli.main(["report", str(folder)]) == 2
    assert "summary.json: damaged (wanted an object)" in capsys.readouterr().err


def test_the_page_lies_in_the_folder_of_a_run_or_where_it_is_asked_for(made, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = made("one"), made("two")
    (one / "params.npz").unlink()
    (two / "params.npz").unlink()
    assert cli.main(["report", str(one), f"{one}/"]) == 0
    assert capsys.readouterr().out == f"{one / 'report.html'}\n"
    assert cli.main(["report", str(one), str(two)]) == 0
    assert "2 training runs" in (tmp_path / "report.html").read_text()
    assert cli.main(["report", str(one), "--out", "my page.html"]) == 0
    assert (tmp_path / "my page.html").exists()
    assert cli.main(["report", str(one), "--out", "none/page.html"]) == 2
    assert "cannot write none/page.html: No such file" in capsys.readouterr().err
