"""Plain text tables, the same on a terminal and in a file."""

import textwrap
from collections.abc import Sequence


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int | None] | None = None) -> str:
    """Returns the rows aligned below their headers; a cell longer than its column's width goes on in the next line.

    >>> print(table(("name", "shape"), [("w1", "(64, 30)"), ("b1", "(30,)")]))
    name  shape
    ----  --------
    w1    (64, 30)
    b1    (30,)
    """
    limits = widths or [None] * len(headers)
    wrapped = [[_lines(cell, limit) for cell, limit in zip(row, limits, strict=True)] for row in rows]
    columns = zip(headers, *wrapped, strict=True) if rows else [(header,) for header in headers]
    sizes = [max(len(header), *(len(line) for cell in cells for line in cell), 0) for header, *cells in columns]
    lines = [_joined(headers, sizes), _joined(["-" * size for size in sizes], sizes)]
    for row in wrapped:
        for i in range(max(map(len, row))):
            lines.append(_joined([cell[i] if i < len(cell) else "" for cell in row], sizes))
    return "\n".join(lines)


def _lines(cell: str, limit: int | None) -> list[str]:
    return (textwrap.wrap(cell, limit) if limit else [cell]) or [""]


def _joined(cells: Sequence[str], sizes: Sequence[int]) -> str:
    return "  ".join(cell.ljust(size) for cell, size in zip(cells, sizes, strict=True)).rstrip()
