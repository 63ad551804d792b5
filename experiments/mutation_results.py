"""What a mutation run found, as data that the next run of some files updates, and as a table."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.mutation_explained import explanation


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant: `killed_by` names the test, "" for a survivor."""

    file: str
    function: str
    line: int
    old: str
    new: str
    killed_by: str


def explained(mutant: dict[str, Any]) -> str | None:
    """Returns why a survivor computes the same, or None where that is not known."""
    return explanation(mutant["file"], mutant["function"], mutant["old"], mutant["new"])


def updated(last: dict[str, Any], notes: list[dict[str, Any]], again: bool) -> dict[str, Any]:
    """Returns the last result with the rows of the files in `notes` replaced; `again` tried their survivors alone."""
    verdicts = [Verdict(**note) for note in notes if "killed_by" in note]
    seconds = {note["file"]: note["file_seconds"] for note in notes if "file_seconds" in note}
    rows = dict(last.get("files", {}))
    for file in seconds:
        rows[file] = _row([v for v in verdicts if v.file == file], seconds[file], rows.get(file) if again else None)
    kept = [
        s for s in [*last.get("computes_the_same", ()), *last.get("survived", ())] if s["file"] not in seconds or again
    ]
    tried = {(v.file, v.function, v.old, v.new) for v in verdicts}
    kept = [s for s in kept if (s["file"], s["function"], s["old"], s["new"]) not in tried]
    survivors = [{k: v for k, v in s.items() if k != "reason"} for s in kept]
    survivors += [_mutant(v) for v in verdicts if not v.killed_by]
    survivors.sort(key=lambda s: (s["file"], s["line"], s["new"]))
    return {
        "versions": {package: version(package) for package in ("jax", "jaxlib", "pytest", "hypothesis")},
        "files": dict(sorted(rows.items())),
        "survived": [s for s in survivors if not explained(s)],
        "computes_the_same": [{**s, "reason": explained(s)} for s in survivors if explained(s)],
        "fails_without_a_mutant": sorted({test for note in notes for test in note.get("fail_anyway", ())}),
    }


def _row(verdicts: list[Verdict], seconds: float, last: dict[str, Any] | None) -> dict[str, Any]:
    killers = Counter(v.killed_by.split("[")[0] for v in verdicts if v.killed_by)
    row = {"date": date.today().isoformat(), "mutants": len(verdicts), "killed": killers.total()}
    if last:
        killers += Counter(last["killed_by"])
        row |= {"mutants": last["mutants"], "killed": last["killed"] + row["killed"]}
        seconds += last["seconds"]
    return {**row, "seconds": round(seconds), "killed_by": dict(killers.most_common())}


def _mutant(verdict: Verdict) -> dict[str, Any]:
    return {name: value for name, value in asdict(verdict).items() if name != "killed_by"}


def table(result: dict[str, Any]) -> str:
    """The numbers of each file and their sums."""
    same = Counter(s["file"] for s in result["computes_the_same"])
    survived = Counter(s["file"] for s in result["survived"])
    rows: list[tuple[Any, ...]] = [
        (file, row["mutants"], row["killed"], same[file], survived[file], row["seconds"])
        for file, row in result["files"].items()
    ]
    rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
    lines = [f"{'file':<34}{'mutants':>9}{'killed':>9}{'same':>7}{'survived':>10}{'seconds':>9}"]
    return "\n".join(lines + [f"{r[0]:<34}{r[1]:>9}{r[2]:>9}{r[3]:>7}{r[4]:>10}{r[5]:>9}" for r in rows])


def counts(result: dict[str, Any]) -> str:
    """The sums over all files, in Markdown."""
    rows = result["files"].values()
    sums = {
        f"all, in {len(rows)} files": sum(row["mutants"] for row in rows),
        "killed by a test": sum(row["killed"] for row in rows),
        "compute the same": len(result["computes_the_same"]),
        "unexplained": len(result["survived"]),
    }
    where = ", ".join(f"{package} {number}" for package, number in result["versions"].items())
    return "\n".join(
        [
            *("| | mutants |", "| --- | --- |"),
            *(f"| {name} | {number} |" for name, number in sums.items()),
            *("", f"{max(row['date'] for row in rows)}, {where}."),
        ]
    )


def read(path: Path) -> dict[str, Any]:
    """Returns the last result, or an empty one."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, result: dict[str, Any]) -> None:
    """Writes a result for people and for the next run to read."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
