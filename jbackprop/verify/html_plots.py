"""Two plots of an error as SVG: how often each size occurs, and its size against the gradient's."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 380, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 12, 44  # margins
MOST_DECADES = 24  # on an axis
COLUMNS, ROWS = 44, 28  # of the counts of error against size


def histogram(shares: np.ndarray, epsilon: float) -> str:
    """Returns the histogram of log10 of `shares`, the errors as fractions of max|g|; exact zeros have their own bar."""
    finite = shares[np.isfinite(shares)]
    logs = np.log10(finite[finite > 0])
    equal = finite.size - logs.size
    low, high = _decades([*_ends(logs), np.log10(epsilon), 0.0])
    counts, edges = np.histogram(np.clip(logs, low, high), bins=int(2 * (high - low)), range=(low, high))
    most = max(int(counts.max(initial=0)), equal, 1)
    zero = 34  # pixels for the bar of the zeros
    x = _Axis(low, high, LEFT + zero + 28, WIDTH - RIGHT)
    y = _Axis(0, most, HEIGHT - BOTTOM, TOP)
    bars = [(LEFT + 4, zero, equal)]
    bars += [(x(edges[i]) + 0.5, x(edges[i + 1]) - x(edges[i]) - 1, int(n)) for i, n in enumerate(counts)]
    drawn = [
        f'<rect class="bar" x="{at:.1f}" y="{min(y(n), y(0) - 1.5):.1f}" width="{wide:.1f}" '
        f'height="{max(y(0) - y(n), 1.5):.1f}"/>'
        for at, wide, n in bars
        if n
    ]
    body = [*_ticks(x, y, "|difference| / max|g|"), _text(LEFT + 4 + zero / 2, y(0) + 16, "equal"), *drawn]
    body += [_rounding_line(x(np.log10(epsilon))), _text(LEFT - 6, y(most) + 8, f"{most}", "end")]
    body += [_text(LEFT - 6, y(0), "0", "end"), _side("elements")]
    words = f"Histogram: {equal} of {shares.size} elements are equal"
    if logs.size:
        words += f", the others differ by {10 ** logs.min():.1e} to {10 ** logs.max():.1e} of max|g|"
    return _svg(body, words)


def error_against_size(sizes: np.ndarray, differences: np.ndarray, epsilon: float) -> str:
    """Returns the counts of elements by log10|g| and log10|difference|; nothing where no such element is."""
    shown = np.isfinite(differences) & (differences > 0) & np.isfinite(sizes) & (sizes > 0)
    if not shown.any():
        return ""
    across, up = np.log10(sizes[shown]), np.log10(differences[shown])
    x = _Axis(*_decades(_ends(across)), LEFT, WIDTH - RIGHT)
    y = _Axis(*_decades([*_ends(up), x.low]), HEIGHT - BOTTOM, TOP)
    ranges = ((x.low, x.high), (y.low, y.high))
    clipped = np.clip(across, x.low, x.high), np.clip(up, y.low, y.high)
    counts, _, _ = np.histogram2d(*clipped, bins=(COLUMNS, ROWS), range=ranges)
    wide, tall = abs(x.end - x.start) / COLUMNS, abs(y.end - y.start) / ROWS
    cells = [
        f'<rect class="bar" x="{x.start + i * wide:.1f}" y="{y.start - (j + 1) * tall:.1f}" width="{wide:.1f}" '
        f'height="{tall:.1f}" opacity="{0.3 + 0.7 * np.log1p(counts[i, j]) / np.log1p(counts.max()):.2f}"/>'
        for i, j in np.argwhere(counts)
    ]
    lines = [_diagonal(x, y, 0.0, "whole"), _diagonal(x, y, float(np.log10(epsilon)), "rounding")]
    body = [*_ticks(x, y, "|g|"), *_side_ticks(y), *cells, *lines, _side("|difference|")]
    far = int(np.sum(up > across - 1))
    words = f"Error against size: {far} of {shown.sum()} elements that differ do so by more than a tenth of themselves"
    return _svg(body, words)


class _Axis(NamedTuple):
    """The values from `low` to `high` on the pixels from `start` to `end`."""

    low: float | int
    high: float | int
    start: float | int
    end: float | int

    def __call__(self, value: float | int) -> float:
        return float(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start))


def _ends(logs: np.ndarray) -> list[float]:
    return [float(logs.min()), float(logs.max())] if logs.size else []


def _decades(values: Sequence[float | int]) -> tuple[int, int]:
    high = int(np.ceil(max(values)))
    return max(int(np.floor(min(values))), high - MOST_DECADES), max(high, int(np.floor(min(values))) + 1)


def _marks(axis: _Axis) -> range:
    return range(int(axis.low), int(axis.high) + 1, max(1, int(np.ceil((axis.high - axis.low) / 6))))


def _ticks(x: _Axis, y: _Axis, title: str) -> list[str]:
    base = f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.start}" y2="{y.start}"/>'
    marks = [_text(x(decade), y.start + 16, _power(decade)) for decade in _marks(x)]
    return [base, *marks, _text((x.start + x.end) / 2, HEIGHT - 8, title)]


def _side_ticks(y: _Axis) -> list[str]:
    return [_text(LEFT - 6, y(decade) + 4, _power(decade), "end") for decade in _marks(y)]


def _side(title: str) -> str:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{title}</text>'


def _rounding_line(at: float) -> str:
    return f'<line class="rounding" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'


def _diagonal(x: _Axis, y: _Axis, shift: float, name: str) -> str:
    """The line on which the error is 10**shift of the gradient, cut off at the frame."""
    low, high = max(x.low, y.low - shift), min(x.high, y.high - shift)
    if low >= high:
        return ""
    ends = f'x1="{x(low):.1f}" y1="{y(low + shift):.1f}" x2="{x(high):.1f}" y2="{y(high + shift):.1f}"'
    return f'<line class="{name}" {ends}/>'


def _power(decade: int) -> str:
    return f'10<tspan dy="-5" font-size="9">{str(decade).replace("-", "−")}</tspan>'


def _text(x: float | int, y: float | int, content: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{content}</text>'


def _svg(body: Sequence[str], words: str) -> str:
    inside = "".join(body)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}"><title>{words}</title>{inside}</svg>'
