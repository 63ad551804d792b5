"""The benchmark's rows as tables of plain text and of Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
DIFFERS = "differs"
RULE_WIDTH = 44  # of the first column, on a terminal
RULE_COLUMNS = (
    *("what", "time / other", "95%", "", "ms", "forward", "backward"),
    *("scratch MiB", "kept MiB", "limit", "compile s"),
)
PEER_COLUMNS = ("training step", "speed", "95%", "", "ms a step", "samples/s", "losses")
WORDS = """time / other  both passes in one program, or a training step: ours over the other's, median and 95% interval
scratch MiB   temporary memory of that program, ours / other's;  kept MiB: bytes kept between the passes
limit         ours as a share of the machine's limit: A its matrix products, B its memory traffic"""


def rule_cells(row: Row) -> tuple[str, ...]:
    """Returns the cells of `RULE_COLUMNS`."""
    passes, main = row["passes"], of_main_program(row)
    alone = [ratio(passes[name]["ratio"]["median"]) if name in passes else "" for name in ("forward", "backward")]
    return (
        f"{row['name']} {row['label']}",
        ratio(main["ratio"]["median"]),
        ends(main["ratio"]),
        main["verdict"] if row["agree"] else f"DIFFERS{_apart(row)}",
        f"{main['milliseconds']['ours']:.3g}",
        *alone,
        _pair(row["temporary_bytes"]),
        _pair(row.get("residual_bytes")),
        f"{row['share_of_limit']['ours']:.0%} {row['limit'][0].upper()}",
        " / ".join(f"{seconds:.1f}" for seconds in row["compile_seconds"].values()),
    )


def peer_cells(entry: Row) -> tuple[str, ...]:
    """Returns the cells of `PEER_COLUMNS`."""
    return (
        entry["name"],
        ratio(entry["speed"]["median"]),
        ends(entry["speed"]),
        entry["verdict"],
        f"{entry['milliseconds_a_step']:.3g}",
        f"{entry['samples_a_second']:,.0f}",
        "agree" if entry["agree"] else f"DIFFER{_apart(entry)}",
    )


def best_lines(peers: Row) -> list[str]:
    """Returns a sentence for each comparison of our fastest with the fastest of others."""
    return [
        f"{found['kind']}: {found['ours']} runs at {ratio(found['speed']['median'])} ({ends(found['speed'])}) "
        f"the speed of {found['other']}"
        for found in peers["best"]
    ]


def ratio(value: float | int) -> str:
    """Returns two figures behind the point, three below a tenth.

    >>> ratio(0.0432), ratio(1.234)
    ('0.043', '1.23')
    """
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def ends(found: Row) -> str:
    """Returns the interval's two ends."""
    return f"{ratio(found['low'])} to {ratio(found['high'])}"


def summary(rows: Sequence[Row]) -> str:
    """Returns how many rows are faster, the same, slower and unclear, and how many differ, which are none of these."""
    found = Counter(word(row) for row in rows)
    shown = ("faster", "same", "slower", "unclear", DIFFERS)
    return ", ".join(f"{found[name]} {name}" for name in shown if found[name])


def of_main_program(row: Row) -> Row:
    """Returns the times of both passes in one program, or of the step."""
    return row["passes"].get("both") or row["passes"]["step"]


def word(row: Row) -> str:
    """Returns the verdict on a row's time. Two programs that do not compute the same have none."""
    return of_main_program(row)["verdict"] if row["agree"] else DIFFERS


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table for a page.

    >>> print(markdown(("a", "b"), [("1", "2")]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def where(results: Row) -> str:
    """Returns the date, the device, the versions, the flags and the limits, for below a table."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    flags = ", ".join(f"{name}={value}" for name, value in results["flags"].items()) or "none"
    limits = results["limits"]
    return (
        f"{results['date'][:10]}, {results['device']}. Matrix product {limits['flops'] / 1e9:,.0f} GFLOP/s, "
        f"memory {limits['bandwidth'] / 1e9:,.1f} GB/s ({results['dtype']}). {versions}. Flags: {flags}."
    )


def _apart(found: Row) -> str:
    """How far; of shapes or NaNs that differ there is no number, and JSON has none for it."""
    return "" if found["difference"] is None else f" by {found['difference']:.1e}"


def _pair(sides: Row | None) -> str:
    if sides is None or None in sides.values():
        return ""
    return " / ".join(mebibytes(value) for value in sides.values())


def mebibytes(value: float | int) -> str:
    """Returns at most three figures.

    >>> mebibytes(0), mebibytes(32), mebibytes(2**10), mebibytes(37 * 2**20)
    ('0', '<0.001', '0.001', '37')
    """
    found = value / 2**20
    if 0 < found < 1e-3 * 0.95:
        return "<0.001"
    return "0" if not value else f"{found:.0f}" if found >= 10 else f"{found:.2g}" if found >= 0.01 else f"{found:.1g}"
