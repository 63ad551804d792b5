"""The lines that a training run prints, on a terminal of any width and elsewhere, and the curves of its metrics."""

import io
import re

import pytest
from rich.console import Console
from run_probes import ROW

from jbackprop.training import plots
from jbackprop.training.display import display


def test_a_long_run_prints_some_lines_only():
    printed = io.StringIO()
    with display(Console(file=printed, width=80), 1000) as show:
        for epoch in range(1, 1001):
            show(ROW._replace(epoch=epoch))
    assert 10 <= len(printed.getvalue().splitlines()) <= 12


def test_on_a_terminal_one_line_is_drawn_again():
    drawn = io.StringIO()
    with display(Console(file=drawn, width=120, force_terminal=True), 3) as show:
        for epoch in (1, 2, 3):
            show(ROW._replace(epoch=epoch))
    printed = drawn.getvalue()
    assert "\x1b[2K" in printed
    for words in ("3/3", "loss 0.5000", "test accuracy 85.00%", "1,000 samples/s", "left"):
        assert words in printed


@pytest.mark.parametrize(("width", "kept"), [(80, "1,079,840/s"), (60, "97.56%"), (48, "loss 0.0083"), (40, "left")])
def test_a_narrow_terminal_keeps_the_epoch_and_the_time_left(width, kept):
    drawn = io.StringIO()
    with display(Console(file=drawn, width=width, force_terminal=True), 1000) as show:
        show(ROW._replace(epoch=1000, loss=0.0083, test_accuracy=0.9756, samples_per_second=1079840.0))
    (line, *_) = [line for line in re.split(r"\r|\n", drawn.getvalue()) if "1000/1000" in line]
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line)
    assert re.search(r"epoch 1000/1000 .*\d:\d\d left", text)
    assert kept in text
    assert "…" not in text


def test_the_largest_disagreement_so_far_is_shown_where_it_fits():
    for width, kept in ((140, True), (100, True), (60, False)):
        drawn = io.StringIO()
        with display(Console(file=drawn, width=width, force_terminal=True), 3) as show:
            for epoch, found in ((1, {"w": 2e-7, "b": 0.0}), (2, None), (3, {"w": 1e-7, "b": 0.0})):
                show(ROW._replace(epoch=epoch, gradient_disagreement=found))
        text = drawn.getvalue()
        assert ("gradient disagreement at most 2.0e-07" in text) == kept
        assert "1.0e-07" not in text
        assert "…" not in text


def test_the_curves_of_one_epoch_are_inside_their_axes():
    loss, accuracy = plots.curves([ROW._replace(train_accuracy=0.4, loss=float("nan"))]).axes
    low, high = accuracy.get_ylim()
    assert low < 0.4 < 0.85 < high
    assert accuracy.get_xlim() == (0.5, 1.5)
    assert [tick for tick in accuracy.get_xticks() if 0.5 <= tick <= 1.5] == [1]
    assert [text.get_text() for text in loss.texts] == ["loss not finite"]
    assert not plots.curves([ROW]).axes[0].texts


def test_the_curves_say_which_loss_has_the_penalty_and_name_no_cost():
    def labels(penalised):
        loss = plots.curves([ROW], penalised).axes[0]
        assert loss.get_ylabel() == "loss"
        return loss.get_legend_handles_labels()[1]

    assert labels(False) == ["training (mean over the epoch)", "test"]
    assert labels(True) == ["training with the penalty\n(mean over the epoch)", "test without it"]
