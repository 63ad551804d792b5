"""A report as plain data for other programs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jbackprop.verify.distance import gaps
from jbackprop.verify.report import Evidence, Report, Row


def report_json(report: Report) -> dict[str, Any]:
    """Returns the report as dictionaries, lists, strings and numbers that `json.dumps(..., allow_nan=False)` takes.

    An error is null where it was not measured; NaN and the infinities, which JSON lacks, are "nan", "inf" and "-inf".

    >>> report_json(Report("scale", "its own primal", (), ()))["ok"]
    True
    """
    return {
        "function": report.function,
        "oracle": report.oracle,
        "ok": report.ok,
        "rows": [_row(row) for row in report.rows],
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in report.checks],
        "diagnoses": [{"argument": d.argument, "kind": d.kind, "sentence": d.sentence} for d in report.diagnoses],
        "vacuous": list(report.vacuous),
        "notes": list(report.notes),
        "call": report.call,
        "environment": dict(report.environment),
    }


def worst_element(evidence: Evidence) -> tuple[int, ...] | None:
    """Returns the index where the two cotangents differ most; None where they are empty or of two shapes."""
    if evidence.manual.shape != evidence.automatic.shape or not evidence.manual.size:
        return None
    differences = gaps(evidence.manual, evidence.automatic)
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(differences)), differences.shape))


def _row(row: Row) -> dict[str, Any]:
    errors = {
        "value_error": row.value_error,
        "formula_error": row.formula_error,
        "rounding_error": row.rounding_error,
        "automatic_error": row.automatic_error,
    }
    return {
        "argument": row.argument,
        "shape": list(row.shape),
        "dtype": row.dtype,
        **{name: None if error is None else _number(error) for name, error in errors.items()},
        "verdict": row.verdict,
        "ok": row.ok,
        "worst": None if row.evidence is None else _worst(row.evidence),
    }


def _worst(evidence: Evidence) -> dict[str, Any] | None:
    index = worst_element(evidence)
    if index is None:
        return None
    pair = {"manual": evidence.manual[index], "automatic": evidence.automatic[index]}
    return {"cotangent": evidence.cotangent, "index": list(index)} | {name: _value(x) for name, x in pair.items()}


def _value(x: Any) -> float | str | Sequence[float | str]:
    return [_number(x.real), _number(x.imag)] if np.iscomplexobj(x) else _number(x)


def _number(x: Any) -> float | str:
    return float(x) if math.isfinite(x) else str(float(x))
