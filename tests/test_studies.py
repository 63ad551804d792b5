"""What the studies write: one that was stopped writes nothing, and a plot is drawn from the kept numbers."""

import json
import sys

import pytest

from experiments import checker_score, depth_scaling


def test_a_score_that_was_stopped_before_the_first_seed_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checker_score, "RESULTS", tmp_path)
    monkeypatch.setattr(checker_score, "_outcomes", lambda jobs, workers: iter(()))
    monkeypatch.setattr(sys, "argv", ["checker_score"])
    with pytest.raises(SystemExit, match="nothing is written"):
        checker_score.main()
    assert not list(tmp_path.iterdir())


def test_the_plot_of_depth_has_a_line_for_each_pass_and_width():
    results = json.loads(depth_scaling.RESULTS.read_text())
    figure = depth_scaling.plot(results)
    assert len(figure.axes) == 6
    assert results["device"] in figure.get_suptitle()
