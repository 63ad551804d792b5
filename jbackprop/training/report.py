"""A page on one training run or several: curves side by side, what differs, and a section for each."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from jbackprop.training.config import Data, flat
from jbackprop.training.data import Dataset
from jbackprop.training.report_curves import curve, panels
from jbackprop.training.report_findings import findings
from jbackprop.training.report_run import run_html
from jbackprop.training.report_style import COLOURS, REPORT_STYLE
from jbackprop.training.saved_run import SavedRun, class_names
from jbackprop.verify.html_page import page, section

UNIMPORTANT = ("name", "runs")  # differ between runs, and say nothing about them


def report(runs: Sequence[SavedRun], load: Callable[[Data], Dataset]) -> str:
    """Returns the page, which needs nothing else; `load` is `data.load` or `saved_run.loader(folder)`.

    Raises `RunError` where parameters do not fit their network.
    """
    names = labels(runs)
    headings = [_heading(i, name) for i, name in enumerate(names)]
    title = names[0] if len(runs) == 1 else f"{len(runs)} training runs"
    parts = [
        f"<header><h1>{escape(title)}</h1><p class='soft'>Training report of jbackprop.</p></header>",
        section("Results", _results(runs, headings)),
        _curves(runs, headings),
        section("Differences of the configurations", _differences(runs, headings)) if len(runs) > 1 else "",
        *(
            run_html(run, findings(run, load), class_names(run.config.data.name), headings[i], f"run-{i + 1}")
            for i, run in enumerate(runs)
        ),
        section("Configuration" if len(runs) == 1 else "Configurations", _configurations(runs, headings)),
    ]
    return page(title, parts, REPORT_STYLE)


def labels(runs: Sequence[SavedRun]) -> list[str]:
    """Returns a name for each run: that of its folder, the whole path where two are called the same."""
    names = [run.folder.resolve().name for run in runs]
    return [name if names.count(name) == 1 else str(run.folder) for name, run in zip(names, runs, strict=True)]


def _heading(i: int, name: str) -> str:
    return f"<span class='swatch' style='background: {COLOURS[i % len(COLOURS)]}'></span>{escape(name)}"


def _results(runs: Sequence[SavedRun], headings: Sequence[str]) -> str:
    columns = (
        "run",
        "network",
        "data",
        "gradient",
        "epochs",
        "test accuracy",
        "best epoch's",
        "test loss",
        "training time",
    )
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    rows = []
    for i, (run, heading) in enumerate(zip(runs, headings, strict=True), 1):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in _result(run))
        rows.append(f"<tr><th scope='row'><a href='#run-{i}'>{heading}</a></th>{cells}</tr>")
    table = f"<table class='runs'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class='scroll'>{table}</div>"


def _result(run: SavedRun) -> tuple[str, ...]:
    config, done = run.config, len(curve(run.rows, "epoch").epochs)
    epochs = str(done) if done == config.epochs else f"{done} of {config.epochs}"
    seeds = len({row.get("seed") for row in run.rows})
    seconds = curve(run.rows, "seconds").mean
    return (
        config.network.name,
        config.data.name,
        config.gradient,
        epochs,
        _last(run, "test_accuracy", "{:.2%}") + (f" ({seeds} seeds)" if seeds > 1 else ""),
        _best(run),
        _last(run, "test_loss", "{:.4f}"),
        f"{float(np.nansum(seconds)):.1f} s" if len(seconds) else "–",
    )


def _last(run: SavedRun, key: str, form: str) -> str:
    """The last epoch's figure, with the standard deviation between seeds, else that of `summary.json`."""
    drawn = curve(run.rows, key)
    kept = run.summary.get(key)
    value = drawn.mean[-1] if len(drawn.mean) else kept if isinstance(kept, int | float) else np.nan
    if not np.isfinite(value):
        return "not finite" if len(drawn.mean) else "–"
    spread = f" ± {form.format(drawn.spread[-1])}" if len(drawn.spread) and drawn.spread[-1] else ""
    return form.format(value) + spread


def _best(run: SavedRun) -> str:
    drawn = curve(run.rows, "test_accuracy")
    if not np.isfinite(drawn.mean).any():
        return "–"
    place = int(np.nanargmax(drawn.mean))
    return f"{drawn.mean[place]:.2%} (epoch {drawn.epochs[place]})"


def _curves(runs: Sequence[SavedRun], headings: Sequence[str]) -> str:
    figures = "".join(
        f"<figure><figcaption>{panel.title}</figcaption><img src='{panel.uri}' alt='{panel.title}'>"
        f"<p class='small soft'>{panel.words}</p></figure>"
        for panel in panels(runs)
    )
    if not figures:
        return ""
    legend = "".join(f"<li>{heading}</li>" for heading in headings) if len(runs) > 1 else ""
    several = any(row.get("seed") is not None for run in runs for row in run.rows)
    band = "<p class='small soft'>Mean over the seeds; the band is one standard deviation.</p>" if several else ""
    legend = f"<ul class='plain'>{legend}</ul>" if legend else ""
    return section("Curves", f"{legend}{band}<div class='curves'>{figures}</div>")


def _differences(runs: Sequence[SavedRun], headings: Sequence[str]) -> str:
    settings = [{key: _setting(value) for key, value in flat(run.config).items()} for run in runs]
    keys = list(dict.fromkeys(key for each in settings for key in each if key not in UNIMPORTANT))
    rows = {key: [each.get(key, "–") for each in settings] for key in keys}
    differing = {key: values for key, values in rows.items() if len(set(values)) > 1}
    if not differing:
        return "<p>None: all runs have the same settings.</p>"
    head = "".join(f"<th scope='col'>{heading}</th>" for heading in headings)
    body = "".join(
        f"<tr><th scope='row'><code>{key}</code></th>" + "".join(f"<td>{escape(v)}</td>" for v in values) + "</tr>"
        for key, values in differing.items()
    )
    words = f"{len(differing)} of {len(rows)} settings differ; – is the network's own default."
    table = f"<thead><tr><th scope='col'>setting</th>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<p class='small soft'>{words}</p><div class='scroll'><table class='runs settings'>{table}</table></div>"


def _setting(setting: Any) -> str:
    return "–" if setting is None else str(list(setting) if isinstance(setting, tuple) else setting)


def _configurations(runs: Sequence[SavedRun], headings: Sequence[str]) -> str:
    parts = []
    for run, heading in zip(runs, headings, strict=True):
        text = escape((run.folder / "config.toml").read_text(encoding="utf-8"))
        parts.append(
            f"<details><summary>{heading}: config.toml</summary><div class='inside'><pre>{text}</pre></div></details>"
        )
    return "\n".join(parts)
