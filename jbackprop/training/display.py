"""What is seen of a run: a live line on a terminal, plain lines where there is none."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from jbackprop.training.loop import Metrics

PLAIN_LINES = 10
PLAIN_SECONDS = 10.0
NARROWEST_BAR = 7  # with the gaps between the columns

Show = Callable[[Metrics], None]


@contextmanager
def display(console: Console, epochs: int, done: int = 0) -> Iterator[Show]:
    """Yields the function that shows the metrics of one epoch; `done` of them were shown by an earlier process."""
    if console.is_terminal:
        with _live(console, epochs, done) as show:
            yield show
    else:
        yield _plain(console, epochs, done)


@contextmanager
def _live(console: Console, epochs: int, done: int) -> Iterator[Show]:
    free = console.width - len("epoch / 0:00:00 left") - 2 * len(str(epochs)) - NARROWEST_BAR
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("training", total=epochs, completed=done, figures="first epoch")
        worst = _running_worst()

        def show(metrics: Metrics) -> None:
            progress.update(task, completed=metrics.epoch, figures=_fitting(metrics, worst(metrics), free))

        yield show


def _plain(console: Console, epochs: int, done: int) -> Show:
    first = last = 0.0
    worst = _running_worst()

    def show(metrics: Metrics) -> None:
        nonlocal first, last
        now = time.perf_counter()
        checked = worst(metrics)
        first = first or now  # the first epoch, with its compilation, says nothing about the others
        since = metrics.epoch - done
        due = since == 1 or metrics.epoch == epochs or metrics.epoch % max(1, epochs // PLAIN_LINES) == 0
        if due or now - last > PLAIN_SECONDS:
            last = now
            left = (now - first) / (since - 1) * (epochs - metrics.epoch) if since > 1 else None
            ending = "" if left is None or metrics.epoch == epochs else f"  {left:.0f} s left"
            line = f"epoch {metrics.epoch:>{len(str(epochs))}}/{epochs}  {_figures(metrics)}{checked}{ending}"
            console.print(line, soft_wrap=True, highlight=False)

    return show


def _running_worst() -> Callable[[Metrics], str]:
    """Returns the function that puts into words the largest disagreement up to the metrics that it is given."""
    worst: float | None = None

    def words(metrics: Metrics) -> str:
        nonlocal worst
        if metrics.gradient_disagreement:
            worst = max(worst or 0.0, *metrics.gradient_disagreement.values())
        return "" if worst is None else f"  gradient disagreement at most {worst:.1e}"

    return words


def _figures(metrics: Metrics) -> str:
    return (
        f"loss {metrics.loss:.4f}  test accuracy {metrics.test_accuracy:.2%}  "
        f"{metrics.samples_per_second:,.0f} samples/s"
    )


def _fitting(metrics: Metrics, checked: str, width: int) -> str:
    """Returns the fullest figures that fit: a terminal that is too narrow would lose the epoch and the time left."""
    loss, accuracy = f"loss {metrics.loss:.4f}", f"test {metrics.test_accuracy:.2%}"
    speed = f"{metrics.samples_per_second:,.0f}/s"
    longer = (f"{_figures(metrics)}{checked}", f"{loss}  {accuracy}{checked}") if checked else ()
    shorter = (_figures(metrics), f"{loss}  {accuracy}  {speed}", f"{loss}  {accuracy}", loss, "")
    return next(figures for figures in (*longer, *shorter) if len(figures) <= max(width, 0))
