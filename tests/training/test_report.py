"""The page on a training run or several: what is on it, and where it lies."""

import json
from typing import Any

import numpy as np
import pytest
from report_probes import ROW, absent, page

from jbackprop import cli
from jbackprop.training import objective
from jbackprop.training.config import Network
from jbackprop.training.evaluate import make_evaluate
from jbackprop.training.report import labels
from jbackprop.training.report_curves import curve
from jbackprop.training.report_findings import confusion, findings, worst_mistakes
from jbackprop.training.saved_run import read_run


def test_a_page_needs_nothing_else(made_run, load_small):
    shown = page(load_small, made_run())
    assert not shown.all("script")
    assert not shown.all("link")
    assert all((image["src"] or "").startswith("data:image/") for image in shown.all("img"))
    assert all((link["href"] or "").startswith("#run-") for link in shown.all("a"))
    text = " ".join(shown.words.split())
    assert "Confusion matrix" in text
    assert "@import" not in text
    assert "Loss against epoch" in text
    assert "two_layer" in text


def test_a_run_is_counted_again_in_its_own_precision(made_run, load_small, small):
    exact, rounded = made_run(), made_run("rounded", dtype="bfloat16")
    found = findings(read_run(rounded), load_small)
    model = objective.of_run(read_run(rounded).config, small)
    params: Any = dict(np.load(rounded / "params.npz"))
    assert found.confusion is not None
    np.testing.assert_array_equal(found.confusion, make_evaluate(model)(params, small.test).confusion)
    probabilities = [one.truth_probability for one in found.mistakes]
    assert probabilities != [one.truth_probability for one in findings(read_run(exact), load_small).mistakes]


def test_the_counts_are_those_of_the_network(made_run, load_small, small):
    folder = made_run()
    found = findings(read_run(folder), load_small)
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
    shown = page(load_small, folder)
    assert f"{101 - wrong} of 101 test images right" in shown.words
    assert f"24 of {wrong} wrong answers" in shown.words
    digits = [image for image in shown.all("img") if (image["alt"] or "").startswith("test image")]
    assert len(digits) == 24


def test_a_network_that_is_always_right_has_no_mistakes():
    labels, images = np.array([0, 1]), np.zeros((2, 4, 4, 1))
    assert worst_mistakes(images, labels, np.eye(2)) == ()
    assert confusion(labels, labels, 3).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_seeds_are_a_mean_and_a_band(made_run):
    accuracies = {0: 0.8, 1: 0.9, 2: 0.94}
    rows = [{"seed": seed, "epoch": 1, **ROW, "test_accuracy": share} for seed, share in accuracies.items()]
    drawn = curve(rows, "test_accuracy")
    assert drawn.mean == pytest.approx([0.88])
    assert drawn.spread == pytest.approx([np.std([0.8, 0.9, 0.94], ddof=1)])
    shown = page(absent, made_run(epochs=1, rows=rows))
    assert "88.00% ± 7.21% (3 seeds)" in shown.words
    assert "the band is one standard deviation" in shown.words


def test_several_runs_are_side_by_side_with_what_differs(made_run):
    one = made_run("one", batch_size=16)
    two = made_run("two", batch_size=64, epochs=5, network=Network(name="mlp", hidden=(4, 4), activation="tanh"))
    shown = page(absent, one, two, made_run("three"))
    differing = {"network.name", "network.hidden", "network.activation", "batch_size", "epochs"}
    assert set(shown.codes) == differing
    assert [section["id"] for section in shown.all("section") if "id" in section] == ["run-1", "run-2", "run-3"]
    assert "Accuracy against time" in shown.words
    assert "Differences" not in page(absent, one).words


def test_runs_of_the_same_settings_have_no_differences(made_run):
    assert "None: all runs have the same settings." in page(absent, made_run("one"), made_run("two")).words


def test_an_odd_name_is_only_a_name(made_run):
    shown = page(absent, made_run('<b>&"$x_1$ \\alpha_'), made_run("_other"))
    assert '<b>&"$x_1$ \\alpha_' in shown.words
    assert not shown.all("b")


def test_runs_of_the_same_name_are_told_apart_by_their_path(made_run, tmp_path):
    first = made_run("one")
    (tmp_path / "other").mkdir()
    second = first.rename(tmp_path / "other" / "one")
    both = [read_run(second), read_run(made_run("one"))]
    assert labels(both) == [str(second), str(tmp_path / "one")]


def test_the_summary_and_the_certificate_are_shown(made_run):
    folder = made_run(check_every=5)
    errors = {"explicit_error": 1.5e-7, "rules_error": 0.0}
    agreement = {"agree": True, "worst": errors, "parameters": {"w1": errors}}
    summary = {
        "command": "jbackprop train <x>",
        "device": "a device",
        "compiler": "threaded",
        "versions": {"jax": "0.0.1", "jbackprop": None},
    }
    (folder / "summary.json").write_text(json.dumps(summary | {"gradient_agreement": agreement}))
    shown = page(absent, folder)
    for words in (
        "jbackprop train <x>",
        "a device",
        "threaded",
        "0.0.1",
        "1.5e-07",
        "it is written at the end of a run",
    ):
        assert words in shown.words
    found = {"disagreement": 2.5e-7, "step": 3, "shape": [4], "verdict": "wrong"}
    certificate = {"verdict": "wrong", "largest": {"parameter": "b1", **found}, "parameters": {"b1": found}}
    (folder / "certificate.json").write_text(json.dumps(certificate))
    shown = page(absent, folder)
    assert "✗ wrong" in shown.words
    assert "at most 2.5e-07 of max|g| (b1, step 3)" in shown.words


def test_the_page_lies_in_the_folder_of_a_run_or_where_it_is_asked_for(made_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = made_run("one"), made_run("two")
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
