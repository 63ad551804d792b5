"""Writes the tables of docs/performance.md, and the plots that it shows, from what `jbackprop bench` has measured.

    jbackprop bench --json experiments/results/bench_rules.json
    jbackprop bench --peers --json experiments/results/bench_peers.json
    python -m experiments.bench_growth
    python -m experiments.bench_limits
    python -m experiments.bench_tables

Every results/bench_rules*.json and results/bench_peers*.json has its table: other sizes, dtypes and machines beside the
first. The test suite fails when a table is out of date.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from experiments.readme_tables import RESULTS, ROOT, write_tables
from jbackprop.bench import plots, text

PAGE = ROOT / "docs" / "performance.md"
COMMANDS = {
    "bench_rules": "jbackprop bench --json experiments/results/bench_rules.json",
    "bench_peers": "jbackprop bench --peers --json experiments/results/bench_peers.json",
    "bench_growth": "python -m experiments.bench_growth",
    "bench_limits": "python -m experiments.bench_limits",
}


def tables(folder: Path = RESULTS) -> dict[str, Callable[[], str]]:
    """Returns what stands between the marks of each name."""
    shown = {
        "bench_rules": rules_table,
        "bench_peers": peers_table,
        "bench_growth": growth_table,
        "bench_limits": limits_table,
    }
    return {name: partial(_of_files, name, show, folder) for name, show in shown.items()}


def rules_table(results: dict[str, Any], stem: str, folder: Path) -> str:
    """The rows of rules and networks, with their plots."""
    rows = text.markdown(_named(text.RULE_COLUMNS), [text.rule_cells(row) for row in results["rows"]])
    pictures = [_image(stem, name, words, folder) for name, words in RULE_PLOTS.items()]
    return "\n\n".join([*filter(None, pictures), rows, f"{text.summary(results['rows'])}. {_about(results)}"])


def peers_table(results: dict[str, Any], stem: str, folder: Path) -> str:
    """The training steps, model by model."""
    parts = []
    for peers in results["peers"]:
        parts.append(f"**{peers['model']}**, {peers['label']}, {peers['dtype']}:")
        parts.append(_image(stem, peers["model"], f"speeds of {peers['model']}", folder))
        parts.append(text.markdown(_named(text.PEER_COLUMNS), [text.peer_cells(entry) for entry in peers["entries"]]))
        parts.append("\n".join(f"- {line}" for line in text.best_lines(peers)))
        left_out = "; ".join(f"{name}: {why}" for name, why in peers["left_out"].items())
        parts.append(f"Left out: {left_out}." if left_out else "")
    return "\n\n".join([*filter(None, parts), _about(results)])


def growth_table(results: dict[str, Any], stem: str, folder: Path) -> str:
    """FLOPs against edges, and compile time against depth."""
    rows = [[row["network"], row["varied"], *(f"{row[name]:.2f}" for name in GROWTH)] for row in results["exponents"]]
    columns = ("network", "varied", *GROWTH.values())
    compiled = [[f"{row['depth']}", f"{row['seconds']:.2f}"] for row in results["compile"]]
    seconds = text.markdown(("layers T of `deep`", "seconds to compile a step"), compiled)
    about = f"{results['date'][:10]}, {results['device']}, JAX {results['versions']['jax']}."
    return "\n\n".join([text.markdown(columns, rows), seconds, about])


def limits_table(results: dict[str, Any], stem: str, folder: Path) -> str:
    """Steps against their products alone."""
    rows = []
    for row in results["rows"]:
        times = row["milliseconds"]
        speeds = [f"{times['autodiff'] / times[name]:.2f}" if name in times else "" for name in LIMITS]
        name = f"{row['model']} {row['label']}, batch {row['batch']}{', threaded' if row['threaded'] else ''}"
        rows.append([name, *(f"{times[name]:.3g}" for name in ("autodiff", "explicit", "products")), *speeds])
    about = f"{results['date'][:10]}, {results['device']}, JAX {results['versions']['jax']}."
    milliseconds = ("ms of autodiff's step", "ms of the explicit one", "ms of its products alone")
    return "\n\n".join([text.markdown(("step", *milliseconds, *LIMITS.values()), rows), about])


LIMITS = {
    "explicit": "speed of the explicit step",
    "autodiff, threaded": "of autodiff's, threaded",
    "compared": "of the explicit step, labels compared",
    "products": "of its products alone",
}
RULE_PLOTS = {"ratios": "time against autodiff", "memory": "memory against autodiff", "roofline": "roofline"}
GROWTH = {"forward": "forward", "both": "forward + backward"}


def draw(folder: Path = RESULTS, target: Path = RESULTS) -> None:
    """Writes the plots of every result in the folder as SVG into the other one."""
    for path in sorted(folder.glob("bench_*.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        drawn = {peers["model"]: plots.speeds(peers) for peers in results.get("peers", [])}
        if results.get("rows") and path.stem.startswith("bench_rules"):
            rows = results["rows"]
            drawn |= {"ratios": plots.ratios(rows), "memory": plots.memory(rows)}
            drawn["roofline"] = plots.roofline(rows, results["limits"])
        for name, svg in drawn.items():
            if svg:
                (target / f"{path.stem}_{name}.svg").write_text(svg + "\n", encoding="utf-8")


def _of_files(name: str, show: Callable[..., str], folder: Path) -> str:
    paths = sorted(folder.glob(f"{name}*.json"))
    if not paths:
        return f"Not measured yet: `{COMMANDS[name]}`, then `python -m experiments.bench_tables`."
    return "\n\n".join(show(json.loads(path.read_text(encoding="utf-8")), path.stem, folder) for path in paths)


def _image(stem: str, name: str, words: str, folder: Path) -> str:
    file = f"{stem}_{name}.svg"
    return f"![{words}](../experiments/results/{file})" if (folder / file).exists() else ""


def _named(columns: tuple[str, ...]) -> list[str]:
    return [name or "verdict" for name in columns]


def _about(results: dict[str, Any]) -> str:
    return f"`{results['command']}`, {text.where(results)}"


def main() -> None:
    draw()
    write_tables(PAGE, tables())
    written = re.findall(r"\]\((\S+\.svg)\)", PAGE.read_text(encoding="utf-8"))
    print(f"docs/performance.md: tables written, {len(written)} plots")


if __name__ == "__main__":
    main()
