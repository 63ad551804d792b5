"""A report as one HTML page that needs nothing else: no network, no script."""

from collections.abc import Sequence
from html import escape

from jbackprop.verify.html_evidence import evidence_html
from jbackprop.verify.html_page import definitions, mark, page, section, sentence
from jbackprop.verify.report import Check, Report, Row, figure

COLUMNS = (
    ("gradient", ""),
    ("verdict", ""),
    ("shape", ""),
    ("dtype", ""),
    ("error", "rule against automatic, in your dtype"),
    ("formula", "the same in float64, where hardly any rounding is left: an error of the formula"),
    ("rounding", "rule in your dtype against rule in float64"),
    ("automatic", "rounding of the automatic gradient, for comparison"),
)


def html(report: Report) -> str:
    """Returns the whole page. Errors are fractions of the largest element of the automatic gradient, max|g|.

    >>> html(Report("scale", "its own primal", (), ())).startswith("<!doctype html>")
    True
    """
    parts = [
        _verdict(report),
        _findings(report),
        _rows(report.rows),
        _pictures(report),
        _checks(report.checks),
        _list("What these inputs cannot show", report.vacuous),
        _list("Notes", [note.removeprefix("note: ") for note in report.notes]),
        section("The call", f"<pre>{escape(report.call)}</pre>") if report.call else "",
        _environment(report),
    ]
    title = f"{report.function}: {'right' if report.ok else 'wrong'}"
    return page(title, parts)


def _verdict(report: Report) -> str:
    kind, words = ("ok", "✓ RIGHT") if report.ok else ("no", "✗ WRONG")
    measured = [row for row in report.rows if row.value_error is not None or not row.ok]
    bad = [f"d{row.argument}" for row in measured if not row.ok]
    broken = sum(not check.ok for check in report.checks)
    gradients = f"{len(bad)} of {_count(len(measured), 'gradient')} wrong ({', '.join(bad)})" if bad else ""
    gradients = gradients or f"{_count(len(measured), 'gradient')} right"
    clauses = f"{broken} of {_count(len(report.checks), 'check')} broken" if broken else ""
    clauses = clauses or f"{_count(len(report.checks), 'check')} passed"
    return (
        f"<header><h1><span class='verdict {kind}'>{words}</span><code>{escape(report.function)}</code></h1>"
        f"<p>{escape(gradients)}, {clauses}. "
        f"<span class='soft'>Compared with {escape(report.oracle)}.</span></p></header>"
    )


def _findings(report: Report) -> str:
    """What is wrong, in words: the diagnoses of gradients, then the gradients that have none, then the checks."""
    explained = {diagnosis.argument for diagnosis in report.diagnoses}
    found = [(f"d{d.argument}", d.sentence) for d in report.diagnoses if d.argument]
    found += [(f"d{row.argument}", _reason(row)) for row in report.rows if not row.ok and row.argument not in explained]
    found += [(check.name, check.detail or "does not hold") for check in report.checks if not check.ok]
    items = "".join(f"<li><b>{escape(name)}</b>: {sentence(words)}</li>" for name, words in found)
    return f"<ul class='findings'>{items}</ul>" if found else ""


def _rows(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th scope='col' title='{words}'>{name}</th>" for name, words in COLUMNS)
    body = "".join(_row(row) for row in rows)
    legend = "; ".join(f"<b>{name}</b>: {words}" for name, words in COLUMNS if words)
    return section(
        "Gradients",
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"<p class='soft small'>Errors are fractions of max|g|, the largest element of the gradient. {legend}.</p>",
    )


def _row(row: Row) -> str:
    errors = (row.value_error, row.formula_error, row.rounding_error, row.automatic_error)
    cells = [str(row.shape), row.dtype, *map(figure, errors)]
    numbers = "".join(f"<td class='number'>{escape(cell)}</td>" for cell in cells)
    return (
        f"<tr><th scope='row'><code>d{escape(row.argument)}</code></th>"
        f"<td class='words'>{_row_mark(row)} {escape(_reason(row))}</td>{numbers}</tr>"
    )


def _reason(row: Row) -> str:
    """The verdict without its first word, which the mark says."""
    first, colon, rest = row.verdict.partition(":")
    return row.verdict if first not in ("ok", "wrong") else rest.strip() if colon else ""


def _row_mark(row: Row) -> str:
    return "" if row.ok and _reason(row) == row.verdict else mark(row.ok)


def _pictures(report: Report) -> str:
    """The wrong ones first and open; the right ones can be unfolded."""
    shown = [row for row in report.rows if row.evidence is not None]
    parts = []
    for row in sorted(shown, key=lambda row: row.ok):
        title = f"{mark(row.ok)} <h3><code>d{escape(row.argument)}</code></h3>"
        size = f"<span class='soft number'>{escape(row.dtype)}{list(row.shape)}</span>"
        opened = "" if row.ok else " open"
        said = [sentence(d.sentence) for d in report.diagnoses if d.argument == row.argument]
        diagnosis = f"<p><b>{'; '.join(said)}</b></p>" if said else ""
        inside = f"<div class='inside'>{diagnosis}{evidence_html(row)}</div>"
        parts.append(f"<details{opened}><summary>{title} {size}</summary>{inside}</details>")
    return section("Rule and automatic gradient side by side", "\n".join(parts)) if parts else ""


def _checks(checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    items = "".join(
        f"<li class='{'ok' if check.ok else 'no'}'>{mark(check.ok)} {escape(check.name)}"
        + (f": <span class='soft'>{escape(check.detail)}</span>" if check.detail else "")
        + "</li>"
        for check in sorted(checks, key=lambda check: check.ok)
    )
    return section("Contract between rule and JAX", f"<ul class='checks'>{items}</ul>")


def _environment(report: Report) -> str:
    if not report.environment:
        return ""
    return section("Where it was measured", definitions(report.environment))


def _list(title: str, sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{sentence(words)}</li>" for words in sentences)
    return section(title, f"<ul>{items}</ul>") if items else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
