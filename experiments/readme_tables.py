"""Writes the tables of README.md from the registry and from the results that the other programs left.

    python -m experiments.readme_tables

A table, or a sentence with figures, stands between `<!-- name: begin -->` and `<!-- name: end -->`; the test suite
fails when one is out of date.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from jbackprop.bench import text
from jbackprop.verify.cases import RULES
from jbackprop.verify.corpus.right import RIGHT
from jbackprop.verify.corpus.wrong import WRONG
from jbackprop.verify.network_cases import network_case

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
WIDTH = 125


def rules_table() -> str:
    """One row for each rule of the registry."""
    rows = ["| rule | cotangents | kept between the passes | convention |", "| --- | --- | --- | --- |"]
    for case in RULES:
        page = f"docs/derivations/{case.name}.md"
        cells = (f"[`{case.name}`]({page})", case.formula.replace("|", "\\|"), case.residuals, case.convention)
        rows.append("| " + " | ".join(re.sub(r"[;,]?\s{2,}", "; ", cell) for cell in cells) + " |")
    return "\n".join(rows)


def networks_table() -> str:
    """One row for each module of `jbackprop.networks`, by its plain form in the registry."""
    rows = ["| network | what it is | source |", "| --- | --- | --- |"]
    for module in ("regression", "two_layer", "mlp", "deep", "cnn", "graph"):
        case = network_case(module)
        rows.append(f"| [`{module}`](docs/derivations/{module}.md) | {case.formula} | {case.source} |")
    return "\n".join(rows)


def digits_table() -> str:
    """Accuracy over seeds, from experiments/published_results.py."""
    results: dict[str, Any] = json.loads((RESULTS / "published_results.json").read_text())
    digits = [row for name, row in results.items() if name.startswith("digits")]
    rows = [
        "| configuration | test accuracy, mean ± standard deviation | lowest to highest | epochs | training, a seed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in digits:
        accuracy = f"{row['mean']:.2%} ± {row['standard_deviation']:.2%}"
        spread = f"{min(row['accuracies']):.2%} to {max(row['accuracies']):.2%}"
        name = f"[`{row['config']}`](configs/{row['config']}.toml)"
        rows.append(f"| {name} | {accuracy} | {spread} | {row['epochs']} | {row['training_seconds_a_seed']:.1f} s |")
    last = digits[-1]
    seeds, examples = len(last["accuracies"]), last["test_examples"]
    rows.append(f"\n{seeds} seeds, all {examples} test examples; {_where_and_when(last)}.")
    return "\n".join(rows)


def ratios_table() -> str:
    """What is faster or slower than autodiff, from `jbackprop bench --json experiments/results/bench_rules.json`."""
    results: dict[str, Any] = json.loads((RESULTS / "bench_rules.json").read_text())
    cells = [text.rule_cells(row)[:4] for row in results["rows"]]
    told = [row for row in cells if row[3] in ("faster", "slower")]
    table = text.markdown(("rule or training step", "time / autodiff", "95%", "verdict"), told)
    return f"{table}\n\nOf all rows {text.summary(results['rows'])}. {text.where(results)}"


def _where_and_when(results: dict[str, Any]) -> str:
    versions = ", ".join(f"{package} {number}" for package, number in results["versions"].items())
    return f"{results['date']}, {results['device']}, {versions}"


def score_table(results: dict[str, Any]) -> str:
    """What each checker catches, from the summary of experiments/checker_score.py."""
    rows = [
        "| checker | wrong rules caught | false alarms | argument named | diagnosis right | seconds, median |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, s in results["summary"].items():
        caught, alarms = f"{s['caught']} of {s['wrong']}", f"{s['false_alarms']} of {s['right']}"
        named = f"{s['argument_named']} of {s['with_argument']}" if "listed" in s else "never"
        diagnosed = f"{s['diagnosed']} of {s['listed']}" if "listed" in s else "never"
        rows.append(f"| {name} | {caught} | {alarms} | {named} | {diagnosed} | {s['seconds']:.2f} |")
    return "\n".join(rows)


def score() -> str:
    """What each checker catches, from experiments/checker_score.py."""
    results: dict[str, Any] = json.loads((RESULTS / "checker_score.json").read_text())
    seeds = (
        f"{results['seeds']} seeds in float32 and float64, one in bfloat16 and for the other two checkers; after the "
        "first, vmap, scan, checkpoint and no jit are left out of rules that do not err there; "
        "gradcheck is without the rules whose Jacobian would take gigabytes; little optimised by XLA, to save compiling"
    )
    return f"{score_table(results)}\n\n{seeds}; {_where_and_when(results)}."


def cost() -> str:
    """Seconds and passes, from experiments/checker_cost.py."""
    results: dict[str, Any] = json.loads((RESULTS / "checker_cost.json").read_text())
    columns = "seconds in all | compiling | the rest, in passes | of them not Python | the least, in passes"
    rows = [f"| a million elements | {columns} |", "| --- | --- | --- | --- | --- | --- |"]
    for row in results["rows"]:
        numbers = " | ".join(f"{row[key]:.0f}" for key in ("passes", "passes_without_python", "least_passes"))
        rows.append(f"| {row['rule']} | {row['total']:.1f} | {row['compile']:.1f} | {numbers} |")
    rows.append(f"\nOne pass is a compiled forward and backward pass; {_where_and_when(results)}.")
    return "\n".join(rows)


def matters() -> str:
    """What a wrong gradient does to an accuracy, from experiments/wrong_gradients_train.py."""
    results: dict[str, Any] = json.loads((RESULTS / "wrong_gradients_train.json").read_text())
    rows = {row["rule"]: row for row in results["cs229"]["rows"]}
    right, wrong = rows[None], rows["dense: db is one number"]
    return paragraph(
        "Does it matter? Networks learn with wrong gradients too: a published solution of CS229's network that sums "
        f"`db` over everything reaches {wrong['mean']:.1%} on MNIST, the right one {right['mean']:.1%} "
        f"({len(right['accuracies'])} seeds each). Accuracy does not see it, `check_vjp` does: "
        "[the study](experiments/README.md#wrong-gradients-train)."
    )


def corpus() -> str:
    """How many rules the checkers are held against."""
    return paragraph(
        "`python -m experiments.checker_score` holds it, JAX's `check_grads` and a full Jacobian as in "
        f"`torch.autograd.gradcheck` against {len(WRONG)} rules that are known to be wrong and {len(RIGHT)} known to "
        "be right ([`jbackprop.verify.corpus`](jbackprop/verify/corpus)), on other arguments with each seed:"
    )


def mutation() -> str:
    """How many mutants the tests notice, from experiments/mutation.py."""
    results: dict[str, Any] = json.loads((RESULTS / "mutation.json").read_text())
    mutants, killed = (sum(row[key] for row in results["files"].values()) for key in ("mutants", "killed"))
    same, survived = len(results["computes_the_same"]), len(results["survived"])
    return paragraph(
        "A mutation run flips signs, drops sums, exchanges arguments and so on, and reruns the tests: of "
        f"{mutants} mutants of the layers and networks the tests notice {killed}, {same} compute the same and "
        f"{survived or 'none'} survive (`python -m experiments.mutation`; "
        "[the reasons](experiments/mutation_explained.py))."
    )


def paragraph(sentences: str) -> str:
    """Returns the sentences in lines of the page's width."""
    return fill(sentences, WIDTH, break_long_words=False, break_on_hyphens=False)


TABLES = {
    "matters": matters,
    "corpus": corpus,
    "mutation": mutation,
    "rules": rules_table,
    "networks": networks_table,
    "digits": digits_table,
    "ratios": ratios_table,
    "score": score,
    "cost": cost,
}


def with_tables(page: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """Returns the text with the content of each table replaced."""
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(page)) != 1:
            raise ValueError(f"the page: the marks {begin} and {end} must stand in it exactly once")
        block = f"{begin}\n{table()}\n{end}"
        page = pattern.sub(lambda _, block=block: block, page)
    return page


def write_tables(page: Path, tables: Mapping[str, Callable[[], str]] = TABLES) -> None:
    """Replaces the content of each table in a file."""
    page.write_text(with_tables(page.read_text(encoding="utf-8"), tables), encoding="utf-8")


if __name__ == "__main__":
    write_tables(ROOT / "README.md")
    print("README.md: tables written")
