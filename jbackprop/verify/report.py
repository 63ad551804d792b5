"""What a comparison found, as data and as a table to read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class Evidence:
    """The two cotangents of one leaf, as float64 (complex: complex128), for the cotangent where they differ most."""

    cotangent: str  # its name: random, ones, ...
    manual: np.ndarray
    automatic: np.ndarray


@dataclass(frozen=True)
class Diagnosis:
    """The hypothesis that explains a wrong cotangent, by its kind and in a sentence for a reader."""

    argument: str
    kind: str  # one of `diagnosis.KINDS`
    sentence: str

    def __str__(self) -> str:
        return f"d{self.argument}: {self.sentence}" if self.argument else self.sentence


@dataclass(frozen=True)
class Row:
    """One leaf of the arguments; errors are fractions of max|g|, the worst over all cotangents (None: not measured)."""

    argument: str
    shape: tuple[int, ...]
    dtype: str
    value_error: float | None  # rule against oracle, in the caller's dtype
    formula_error: float | None  # rule against oracle, both in float64
    rounding_error: float | None  # rule in the caller's dtype against rule in float64
    automatic_error: float | None  # oracle in the caller's dtype against oracle in float64
    verdict: str
    ok: bool
    evidence: Evidence | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Check:
    """One clause of the contract between a rule and JAX."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class Report:
    """The comparison of one function's gradients with an oracle's: a row per argument leaf, a check per clause."""

    function: str
    oracle: str
    rows: tuple[Row, ...]
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    vacuous: tuple[str, ...] = ()  # what these inputs cannot show, one sentence each
    call: str = ""  # that made this comparison, as Python with types in the place of arrays
    environment: Mapping[str, str] = field(default_factory=dict)  # versions, device, precision

    @property
    def ok(self) -> bool:
        """True where every row and every check is."""
        return all(row.ok for row in self.rows) and all(check.ok for check in self.checks)

    @property
    def wrong(self) -> tuple[str, ...]:
        """The arguments whose cotangent is wrong."""
        return tuple(row.argument for row in self.rows if row.verdict.startswith("wrong"))

    def __str__(self) -> str:
        title = f"{self.function}: {'ok' if self.ok else 'WRONG'}, compared with {self.oracle}"
        header = ("", "shape", "dtype", "error", "formula", "rounding", "automatic", "verdict")
        checks = [
            f"{'ok   ' if check.ok else 'WRONG'} {check.name}" + (f": {check.detail}" if check.detail else "")
            for check in self.checks
        ]
        found = [f"-> {diagnosis}" for diagnosis in self.diagnoses]
        blind = [f"not seen: {sentence}" for sentence in self.vacuous]
        return "\n".join([title, *table([header, *map(_cells, self.rows)]), *found, *checks, *blind, *self.notes])


class VJPError(AssertionError):
    """A rule's gradient is wrong; the message is the whole table, `report` the data."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.report = report

    def __str__(self) -> str:
        return f"\n{self.report}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a plain-text table with left-aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def figure(error: float | None) -> str:
    """Returns an error as it stands in a table."""
    return "-" if error is None else f"{error:.1e}"


def _cells(row: Row) -> tuple[str, ...]:
    errors = (row.value_error, row.formula_error, row.rounding_error, row.automatic_error)
    return f"d{row.argument}", str(row.shape), row.dtype, *map(figure, errors), row.verdict
