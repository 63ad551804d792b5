"""Plain text tables, the same on a terminal and in a file."""

import itertools
import textwrap
from collections.abc import Sequence

from jbackprop.verify.report import table as aligned


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int | None] | None = None) -> str:
    """Returns the rows aligned below their headers; a cell longer than its column's width goes on in the next line.

    >>> print(table(("name", "shape"), [("w1", "(64, 30)"), ("b1", "(30,)")]))
    name  shape
    ----  --------
    w1    (64, 30)
    b1    (30,)
    """
    limits = widths or [None] * len(headers)
    wrapped = ([_lines(cell, limit) for cell, limit in zip(row, limits, strict=True)] for row in rows)
    lines = [line for row in wrapped for line in itertools.zip_longest(*row, fillvalue="")]
    rule = ["-" * max(map(len, column)) for column in zip(headers, *lines, strict=True)]
    return "\n".join(aligned([headers, rule, *lines]))


def _lines(cell: str, limit: int | None) -> list[str]:
    return (textwrap.wrap(cell, limit) if limit else [cell]) or [""]
