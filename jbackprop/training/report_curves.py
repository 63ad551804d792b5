"""The curves of several runs in the same axes, as pictures for a page."""

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter

from jbackprop.training.report_style import COLOURS
from jbackprop.training.saved_run import SavedRun

MOST_POINTS = 600  # of one curve: more are not seen, and make the page heavy
LINEAR_UP_TO = 5  # times the smallest value
ROOM_BELOW = 0.12  # of accuracy, below the last epoch's: the first epochs would flatten the rest


class Curve(NamedTuple):
    """The mean over the seeds at each epoch and the standard deviation between them, 0 for one seed."""

    epochs: np.ndarray
    mean: np.ndarray
    spread: np.ndarray


class Panel(NamedTuple):
    """One picture: its title, what it shows, and the picture as a data URI."""

    title: str
    words: str
    uri: str


def panels(runs: Sequence[SavedRun]) -> Iterator[Panel]:
    """Yields loss, accuracy, accuracy against time, and the gradient's disagreement where it was measured."""
    curves = "Whole line: test split. Dashed: training split"
    if any(_any(run, "loss", "test_loss") for run in runs):
        yield Panel("Loss against epoch", f"{curves}, mean over the epoch.", _uri(_loss, runs))
    if any(_any(run, "test_accuracy", "train_accuracy") for run in runs):
        yield Panel("Accuracy against epoch", f"{curves}.", _uri(_accuracy, runs))
    if len(runs) > 1 and any(_any(run, "seconds") for run in runs):
        words = "Test split. The time is that of the training steps alone, in seconds."
        yield Panel("Accuracy against time", words, _uri(_against_time, runs))
    if any(_disagreements(run) for run in runs):
        words = "Largest max|d| / max|g| of the epoch's checks, over all parameters. Dashed: rounding of float32, 2⁻²³."
        yield Panel("Gradient against the automatic one", words, _uri(_disagreement, runs))


def curve(rows: Sequence[dict[str, Any]], key: str) -> Curve:
    """Returns one metric by epoch. Of an epoch that was trained twice, the later row counts.

    >>> rows = [{"epoch": 1, "seed": 0, "loss": 1.0}, {"epoch": 1, "seed": 1, "loss": 3.0}]
    >>> curve(rows, "loss").mean
    array([2.])
    """
    values: dict[int, dict[Any, float]] = {}
    for row in rows:
        figure = row.get(key)
        values.setdefault(row["epoch"], {})[row.get("seed")] = np.nan if figure is None else float(figure)
    epochs = sorted(values)
    seeds = [np.array(list(values[epoch].values())) for epoch in epochs]
    spread = [float(each.std(ddof=1)) if len(each) > 1 else 0.0 for each in seeds]
    return Curve(np.array(epochs), np.array([float(each.mean()) for each in seeds]), np.array(spread))


def _any(run: SavedRun, *keys: str) -> bool:
    return any(np.isfinite(curve(run.rows, key).mean).any() for key in keys)


def _loss(axes: Axes, runs: Sequence[SavedRun]) -> None:
    for run, colour in _coloured(runs):
        _draw(axes, curve(run.rows, "test_loss"), colour)
        _draw(axes, curve(run.rows, "loss"), colour, dashed=True)
    axes.set(xlabel="epoch", ylabel="loss")
    _plain_log(axes, "y")


def _accuracy(axes: Axes, runs: Sequence[SavedRun]) -> None:
    for run, colour in _coloured(runs):
        _draw(axes, curve(run.rows, "test_accuracy"), colour)
        _draw(axes, curve(run.rows, "train_accuracy"), colour, dashed=True)
    axes.set(xlabel="epoch", ylabel="accuracy")
    _accuracy_axis(axes, runs)


def _against_time(axes: Axes, runs: Sequence[SavedRun]) -> None:
    for run, colour in _coloured(runs):
        accuracy, seconds = curve(run.rows, "test_accuracy"), np.cumsum(curve(run.rows, "seconds").mean)
        _draw(axes, accuracy, colour, across=seconds)
    axes.set(xlabel="training time in seconds", ylabel="test accuracy")
    _plain_log(axes, "x")
    _accuracy_axis(axes, runs)


def _disagreement(axes: Axes, runs: Sequence[SavedRun]) -> None:
    for run, colour in _coloured(runs):
        rows = _disagreements(run)
        _draw(axes, curve(rows, "worst"), colour, marker=".")
    axes.axhline(float(np.finfo(np.float32).eps), color="#8a8a8a", linewidth=1, linestyle="--")
    axes.set_yscale("symlog", linthresh=1e-8, linscale=0.5)
    axes.set(xlabel="epoch", ylabel="max|d| / max|g|", ylim=(-2e-9, None))


def _disagreements(run: SavedRun) -> list[dict[str, Any]]:
    found = [(row, row.get("gradient_disagreement")) for row in run.rows]
    figures = [(row, [value for value in each.values() if value is not None]) for row, each in found if each]
    return [{"epoch": row["epoch"], "seed": row.get("seed"), "worst": max(each)} for row, each in figures if each]


def _coloured(runs: Sequence[SavedRun]) -> Iterator[tuple[SavedRun, str]]:
    for i, run in enumerate(runs):
        yield run, COLOURS[i % len(COLOURS)]


def _draw(
    axes: Axes, drawn: Curve, colour: str, dashed: bool = False, across: np.ndarray | None = None, marker: str = ""
) -> None:
    if not len(drawn.epochs):
        return
    kept = np.unique(np.linspace(0, len(drawn.epochs) - 1, MOST_POINTS).round().astype(int))
    x = (drawn.epochs if across is None else across)[kept]
    mean, spread = drawn.mean[kept], drawn.spread[kept]
    style = {"color": colour, "linestyle": "--" if dashed else "-", "linewidth": 1.2 if dashed else 1.8}
    axes.plot(x, mean, marker=marker or ("o" if len(kept) == 1 else ""), **style)
    if spread.any():
        axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)


def _plain_log(axes: Axes, which: str) -> None:
    """A logarithmic scale with numbers such as 0.05, where the values are further apart than a factor."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = axes.dataLim.intervaly if which == "y" else axes.dataLim.intervalx
    if not 0 < low * LINEAR_UP_TO < high:
        return
    axes.set(**{f"{which}scale": "log"})
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_locator(LogLocator(subs=(2, 5) if high < 200 * low else ()))
    axis.set_minor_formatter(lambda value, _: f"{value:g}")


def _accuracy_axis(axes: Axes, runs: Sequence[SavedRun]) -> None:
    means = [curve(run.rows, key).mean for run in runs for key in ("train_accuracy", "test_accuracy")]
    means = [mean[np.isfinite(mean)] for mean in means]
    means = [mean for mean in means if len(mean)]
    lowest = min(mean.min() for mean in means) - 0.01
    last = min(mean[-1] for mean in means) - ROOM_BELOW
    axes.set_ylim(lowest if max(map(len, means)) == 1 else max(lowest, last), 1.003)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))


def _uri(draw: Callable[[Axes, Sequence[SavedRun]], None], runs: Sequence[SavedRun]) -> str:
    """SVG, whose letters stay sharp at every width, as an image, so that its names do not meet the page's."""
    figure = Figure(figsize=(5.6, 3.7), layout="constrained")
    axes = figure.subplots()
    draw(axes, runs)
    if axes.get_xlabel() == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"
