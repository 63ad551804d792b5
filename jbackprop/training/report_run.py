"""The section of one run in a report: what it gets wrong, its first layer, its gradients, where it ran."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jbackprop.training.report_findings import Findings
from jbackprop.training.report_pictures import confusion_html, first_layer_html, kept_picture, mistakes_html
from jbackprop.training.saved_run import SavedRun
from jbackprop.verify.html_page import definitions, mark
from jbackprop.verify.report import figure


def run_html(run: SavedRun, found: Findings, names: Sequence[str], heading: str, anchor: str) -> str:
    """Returns the section; `heading` is HTML, `names` are those of the classes."""
    parts = [_notes(run, found)]
    if found.confusion is not None:
        parts.append(_part("Confusion matrix", confusion_html(found.confusion, _fitting(names, found.confusion))))
    if found.wrong is not None:
        parts.append(_part("Worst mistakes", mistakes_html(found, names)))
    if found.first_layer is not None:
        parts.append(_part("First layer", first_layer_html(found.first_layer)))
    parts += [_part("The three gradients", _gradients(run)), _part("Gradient during training", _certificate(run))]
    parts.append(_part("Where it ran", _environment(run)))
    return f"<section class='run' id='{anchor}'><h2>{heading}</h2>\n{''.join(filter(None, parts))}\n</section>"


def _fitting(names: Sequence[str], matrix: Any) -> Sequence[str]:
    return names if len(names) == len(matrix) else [str(i) for i in range(len(matrix))]


def _part(title: str, content: str) -> str:
    return f"<h3>{title}</h3>\n{content}\n" if content else ""


def _notes(run: SavedRun, found: Findings) -> str:
    ended = run.summary.get("ended") or run.certificate.get("ended")
    said = [f"Ended early: {ended}"] if ended and ended != "complete" else []
    if not run.rows:
        said.append("No epoch was finished.")
    if any(row.get("seed") is not None for row in run.rows):
        said.append("Several seeds were trained: the pictures, the counts and the gradients are those of the first.")
    return "".join(f"<p class='note'>{escape(note)}</p>" for note in (*said, *run.notes, *found.problems))


def _gradients(run: SavedRun) -> str:
    """The explicit gradient, that of the rules and the automatic one, of the trained network on one batch."""
    kept = run.summary.get("gradient_agreement") or {}
    parameters = kept.get("parameters") or {}
    rows = [{"parameter": path, **errors} for path, errors in parameters.items()]
    rows += [{"parameter": "worst", **kept["worst"]}] if rows and kept.get("worst") else []
    words = f"{mark(kept.get('agree') is True)} max|d| / max|g| against the automatic gradient g, of one batch."
    drawn = kept_picture(run.folder / "gradient_agreement.png", "Training with each of the three gradients")
    return (f"<p>{words}</p>{_table(rows)}" if rows else "") + drawn or "<p class='soft'>Not compared in this run.</p>"


def _certificate(run: SavedRun) -> str:
    kept = run.certificate
    if not kept:
        words = "it is written at the end of a run" if run.config.check_every else "check_every was 0"
        return f"<p class='soft'>No certificate: {words}.</p>"
    largest = kept.get("largest") or {}
    words = (
        f"{kept.get('steps_checked', '?')} of {kept.get('steps', '?')} steps were checked: the {kept.get('gradient')} "
        f"gradient differs from the automatic one by at most {_cell(largest.get('disagreement'))} of max|g| "
        f"({largest.get('parameter', '?')}, step {largest.get('step', '?')})."
    )
    rows = [{"parameter": path, **found} for path, found in (kept.get("parameters") or {}).items()]
    return f"<p>{mark(kept.get('verdict') == 'agree')} {escape(words)}</p>{_table(rows)}"


def _environment(run: SavedRun) -> str:
    known = run.certificate | run.summary
    versions = known.get("versions")
    versions = versions if isinstance(versions, dict) else {}
    pairs = {name: known[name] for name in ("command", "date", "device") if known.get(name)}
    compiled = known.get("compile_seconds")
    pairs |= {"epoch by": known["loop"]} if known.get("loop") else {}
    pairs |= {"compiler options": known["compiler"]} if known.get("compiler") else {}
    pairs |= {"compiled in": f"{compiled:.1f} s"} if isinstance(compiled, int | float) else {}
    pairs |= {name: number for name, number in versions.items() if number}
    return definitions({**pairs, "folder": run.folder})


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th scope='col'>{escape(name.replace('_', ' '))}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td class='number'>{escape(_cell(row.get(name)))}</td>" for name in names) + "</tr>"
        for row in rows
    )
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return f"({', '.join(map(_cell, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float):
        return figure(value)
    return "–" if value is None else str(value)
