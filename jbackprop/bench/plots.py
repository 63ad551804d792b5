"""The rows as SVG that needs nothing else: ratios with their intervals, memory, and a roofline."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from jbackprop.bench.text import DIFFERS, of_main_program, word

Row = Mapping[str, Any]
Number = float | int  # beartype tells them apart
LABELS, PLOT, LINE, TOP, BOTTOM = 390, 400, 22, 10, 46  # pixels: left of the bars, their width, one row, the margins
# Of its own: a picture in a README has no page around it.
STYLE = """<style>
.bench text { font: 12px system-ui, sans-serif; fill: #59636e; } .bench .axis { stroke: #8c959f; }
.bench .grid { stroke: #d1d9e0; stroke-width: .6; } .bench .one { stroke: #59636e; stroke-dasharray: 4 3; }
.bench .whisker { stroke: #1b1f24; stroke-width: 1.4; } .bench .faster { fill: #2a8c4a; }
.bench .slower { fill: #c8332b; } .bench .same, .bench .baseline { fill: #8c959f; }
.bench .unclear, .bench .differs { fill: #c3cad1; }
.bench .ours { fill: #2563eb; } .bench .other { fill: #e07b28; } .bench .roof { stroke: #59636e; fill: none; }
@media (prefers-color-scheme: dark) { .bench text { fill: #9aa4af; } .bench .whisker { stroke: #e6edf3; }
.bench .grid { stroke: #30363d; } }
</style>"""


def ratios(rows: Sequence[Row]) -> str:
    """Returns a bar for each row from 1 to its median ratio of times, with the 95% interval, on a log scale."""
    found = [(f"{row['name']} {row['label']}", of_main_program(row)["ratio"], word(row)) for row in rows]
    return _bars(found, "time: ours / the other's")


def speeds(peers: Row) -> str:
    """Returns a bar for each peer from 1 to its median speed, on a log scale."""
    entries = peers["entries"]
    found = [(one["name"], one["speed"], one["verdict"] if one["agree"] else DIFFERS) for one in entries]
    return _bars(found, "speed against jax.grad + optax")


def memory(rows: Sequence[Row]) -> str:
    """Returns two bars for each row, ours and the other's: temporary bytes and those kept between the passes."""
    sizes = [{side: _bytes(row, side) for side in ("ours", "reference")} for row in rows]
    axis = _Log([1024.0, *(value for size in sizes for value in size.values() if value > 1024)])
    body = axis.ticks(len(rows), _bytes_word)
    for i, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        body.append(_label(i, f"{row['name']} {row['label']}"))
        for k, (side, name) in enumerate((("ours", "ours"), ("reference", "other"))):
            wide = max(axis(max(size[side], 1024)) - LABELS, 1.5)
            body.append(_rect(name, LABELS, _at(i) + 3 + 8 * k, wide, 7, f"{name}: {size[side]:,.0f} bytes"))
    return _svg(body, len(rows), "temporary bytes and bytes kept between the passes: blue ours, orange the other's")


def roofline(rows: Sequence[Row], limits: Row) -> str:
    """Returns FLOP/s against FLOPs a byte, for the rows that count both, below the machine's two limits."""
    points = []
    for row in rows:
        flops, traffic = row["formula"]["flops"] or row["flops"]["ours"], row["formula"]["bytes"]
        if flops and traffic:
            seconds = row["passes"]["both"]["milliseconds"]["ours"] / 1e3
            points.append((f"{row['name']} {row['label']}", flops / traffic, flops / seconds))
    if not points:
        return ""
    ridge = limits["flops"] / limits["bandwidth"]
    x = _Log([ridge / 10, ridge * 10, *(intensity for _, intensity, _ in points)])
    y = _Log([limits["flops"], *(rate for _, _, rate in points)], start=300.0, length=-280.0)
    low, high = 10**x.low, 10**x.high
    roof = [(low, low * limits["bandwidth"]), (ridge, limits["flops"]), (high, limits["flops"])]
    line = " ".join(f"{x(a):.1f},{y(max(b, 10**y.low)):.1f}" for a, b in roof)
    body = [f'<polyline class="roof" points="{line}"/>']
    body += [_text(x(10.0**d), 318, f"1e{d}") for d in x.decades()] + [
        _text(LABELS - 8, y(10.0**d) + 4, f"1e{d}", "end") for d in y.decades()
    ]
    body.append(_text(LABELS + PLOT / 2, 338, "FLOPs a byte of unavoidable traffic"))
    body.append(_text(LABELS - 60, 160, "FLOP/s", "end"))
    for label, intensity, rate in points:
        words = f"{label}: {rate / 1e9:.1f} GFLOP/s"
        body.append(f'<circle class="ours" cx="{x(intensity):.1f}" cy="{y(rate):.1f}" r="4">{_title(words)}</circle>')
    return _framed(body, 350, "Roofline: FLOP/s against FLOPs a byte, below the limits of the machine")


class _Log:
    """Values on a log axis of whole decades."""

    def __init__(self, values: Sequence[Number], start: Number = LABELS, length: Number = PLOT):
        self.low, self.high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        self.high = max(self.high, self.low + 1)
        self.start, self.length = start, length

    def __call__(self, value: Number) -> float:
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * self.length

    def decades(self) -> range:
        return range(self.low, self.high + 1)

    def ticks(self, rows: int, word: Any) -> list[str]:
        bottom = TOP + rows * LINE
        lines = [f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{bottom}"/>' for at in self._places()]
        return lines + [_text(self(10.0**d), bottom + 15, word(10.0**d)) for d in self.decades()]

    def _places(self) -> list[float]:
        return [self(10.0**d) for d in self.decades()]


def _bars(found: Sequence[tuple[str, Row, str]], title: str) -> str:
    axis = _Log([0.5, 2.0, *(interval[end] for _, interval, _ in found for end in ("low", "high"))])
    body = axis.ticks(len(found), lambda value: f"{value:g}")
    bottom = TOP + len(found) * LINE
    body.append(f'<line class="one" x1="{axis(1):.1f}" x2="{axis(1):.1f}" y1="{TOP}" y2="{bottom}"/>')
    for i, (label, interval, verdict) in enumerate(found):
        left, right = sorted((axis(1), axis(interval["median"])))
        low, high = axis(interval["low"]), axis(interval["high"])
        words = f"{interval['median']:.3f}, 95% {interval['low']:.3f} to {interval['high']:.3f}, {verdict}"
        body += [_label(i, label), _rect(verdict, left, _at(i) + 4, max(right - left, 1.5), LINE - 8, words)]
        middle = _at(i) + LINE / 2
        body.append(f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>')
        body.append(_text(LABELS + PLOT + 8, middle + 4, f"{interval['median']:.2f}", "start"))
    return _svg(body, len(found), title)


def _bytes(row: Row, side: str) -> Number:
    return sum((row.get(name) or {}).get(side) or 0 for name in ("temporary_bytes", "residual_bytes"))


def _bytes_word(value: Number) -> str:
    return f"1e{round(math.log10(value))} B"


def _at(i: int) -> int:
    return TOP + i * LINE


def _label(i: int, text: str) -> str:
    shown = text if len(text) <= 62 else f"{text[:61]}…"
    return _text(LABELS - 8, _at(i) + LINE / 2 + 4, escape(shown), "end")


def _rect(name: str, x: Number, y: Number, wide: Number, tall: Number, words: str) -> str:
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
    return f'<rect class="{name}" {shape}>{_title(words)}</rect>'


def _title(words: str) -> str:
    return f"<title>{escape(words)}</title>"


def _text(x: Number, y: Number, content: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{content}</text>'


def _svg(body: Sequence[str], rows: int, title: str) -> str:
    height = TOP + rows * LINE + BOTTOM
    return _framed([*body, _text(LABELS + PLOT / 2, height - 10, escape(title))], height, title)


def _framed(body: Sequence[str], height: int, words: str) -> str:
    inside = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bench" viewBox="0 0 {LABELS + PLOT + 60} {height}" role="img" '
        f'aria-label="{escape(words)}">{_title(words)}{STYLE}\n{inside}\n</svg>'
    )
