"""The results as one HTML page that needs nothing else."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jbackprop.bench import plots, text
from jbackprop.verify.html_page import definitions, page, section

WIDE = ".wide svg { min-width: 720px; } td.number { text-align: right; }"


def html(results: Mapping[str, Any]) -> str:
    """Returns the whole page of the results that `--json` keeps."""
    rows, peers = results["rows"], results["peers"]
    parts = [f"<header><h1>jbackprop bench</h1><p class='soft'>{escape(text.where(results))}</p></header>"]
    if rows:
        parts += [
            section("Time against autodiff", _wide(plots.ratios(rows)) + f"<p>{escape(text.summary(rows))}</p>"),
            section("Memory", _wide(plots.memory(rows))),
            section("Roofline", _wide(roof)) if (roof := plots.roofline(rows, results["limits"])) else "",
            section("Figures", _table(text.RULE_COLUMNS, [text.rule_cells(row) for row in rows]) + _words()),
        ]
    parts += [_peers(found) for found in peers]
    parts.append(section("Where it was measured", definitions(_environment(results))))
    return page("jbackprop bench", parts, WIDE)


def _peers(found: Mapping[str, Any]) -> str:
    table = _table(text.PEER_COLUMNS, [text.peer_cells(entry) for entry in found["entries"]])
    best = "".join(f"<li>{escape(line)}</li>" for line in text.best_lines(found))
    left_out = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in found["left_out"].items())
    left_out = f"<p>Left out:</p><ul>{left_out}</ul>" if left_out else ""
    title = f"Training steps: {escape(found['model'])} {escape(found['label'])}, {escape(found['dtype'])}"
    return section(title, f"{_wide(plots.speeds(found))}{table}<ul>{best}</ul>{left_out}")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in columns)
    lines = [
        f"<tr><th scope='row'>{escape(first)}</th>"
        + "".join(f"<td class='number'>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for first, *cells in rows
    ]
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def _words() -> str:
    return f"<pre>{escape(text.WORDS)}</pre>"


def _wide(svg: str) -> str:
    return f"<div class='scroll wide'>{svg}</div>"


def _environment(results: Mapping[str, Any]) -> dict[str, Any]:
    flags = results["flags"] or {"flags": "none"}
    return {name: results[name] for name in ("command", "date", "device")} | results["versions"] | flags
