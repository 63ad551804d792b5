"""What `compare_vjp` says of rules that others wrote, in packages that pip installs.

    python -m experiments.others_rules [--only TEXT]

JAX's own rules need nothing more. For the others: pip install optax equinox flax lineax optimistix diffrax ott-jax
jaxopt rlax distrax numpyro tfp-nightly brax mujoco-mjx jax-md e3nn-jax. What is not installed is left out, with a word.

Each rule comes with arguments that sit on the kink, the tie or the zero that it is about. A `reference` stands where
the primal has no derivative of its own. Prints the table, writes experiments/results/others_rules.json and
its section of experiments/README.md. Six minutes on two CPU cores.
"""

import argparse
import importlib.metadata
import json
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import jax

from experiments.others_rules_case import OthersRule, outcome
from experiments.others_rules_jax import JAX
from experiments.others_rules_numerics import NUMERICS
from experiments.others_rules_science import SCIENCE
from experiments.others_rules_transport import TRANSPORT
from experiments.provenance import provenance
from experiments.readme_tables import paragraph, write_tables
from jbackprop.verify.compare import compare_vjp

RULES = (*JAX, *NUMERICS, *TRANSPORT, *SCIENCE)
RESULTS = Path(__file__).parent / "results" / "others_rules.json"


def examine(rule: OthersRule) -> dict[str, Any]:
    """Runs the checker on one rule; where its package is missing, `found` says so."""
    said: dict[str, Any] = {"package": rule.package, "name": rule.name, "why": rule.why, "remark": rule.remark}
    try:
        checked = rule.probe()
        version = importlib.metadata.version(rule.package)
    except ImportError as error:  # PackageNotFoundError is one
        return said | {"found": "not installed", "expected": rule.expected, "detail": str(error)}
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the package
        report = compare_vjp(checked.function, *checked.args, **checked.options)
    return said | {
        "version": version,
        "shapes": {row.argument: f"{row.dtype}{list(row.shape)}" for row in report.rows},
        "options": sorted(checked.options),
        "found": outcome(report),
        "expected": rule.expected,
        "verdicts": {row.argument: row.verdict for row in report.rows},
        "checks": [f"{check.name}: {check.detail}" for check in report.checks if not check.ok],
        "diagnoses": [str(diagnosis) for diagnosis in report.diagnoses],
        "seconds": round(time.perf_counter() - start, 1),
    }


def table(results: dict[str, Any]) -> str:
    """The table of the findings, in Markdown."""
    lines = ["| package | rule | it is there for | the checker says | remark |", "| --- | --- | --- | --- | --- |"]
    for row in results["rules"]:
        if row["found"] != "not installed":
            package = f"{row['package']} {row['version']}"
            lines.append(f"| {package} | `{row['name']}` | {row['why']} | {row['found']} | {row['remark']} |")
    return "\n".join(lines)


def section(results: dict[str, Any]) -> str:
    """How many rules there are and what became of them, the table, and where it was checked, in Markdown."""
    found = [row for row in results["rules"] if row["found"] != "not installed"]
    verdicts = Counter(row["found"].partition(":")[0] for row in found)
    remarks = [row["remark"] for row in found if row["found"].startswith("wrong")]
    design, bugs = (sum(remark.startswith(mark) for remark in remarks) for mark in ("by design", "**bug**"))
    words = (
        f"{len(found)} rules of {len({row['package'] for row in found})} packages: {verdicts['ok']} are right, "
        f"{verdicts['another subgradient']} more choose another subgradient or limit than autodiff, {len(remarks)} are "
        f"called wrong. Of these, {design} say something else than the derivative on purpose, {bugs} are mistakes, "
        f"with reproductions below, and {len(remarks) - design - bugs} are conventions or approximations, as remarked."
    )
    where = f"{results['date']}, {results['device']}, JAX {results['versions']['jax']}."
    return f"{paragraph(words)}\n\n{table(results)}\n\n{where}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rules whose package or name contains this; nothing is written then")
    only = parser.parse_args().only
    rules = []
    for rule in RULES:
        if only in f"{rule.package} {rule.name}":
            row = examine(rule)
            rules.append(row)
            changed = "" if row["found"] in (rule.expected, "not installed") else f", where it said {rule.expected}"
            print(f"{rule.package} {rule.name}: {row['found']}{changed}", flush=True)
            jax.clear_caches()
    installed = sorted({row["package"] for row in rules if "version" in row} | {"jax", "jaxlib", "numpy"})
    results = {"rules": rules, **provenance(*installed)}
    print(table(results))
    if not only:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        write_tables(Path(__file__).parent / "README.md", {"others_rules": lambda: section(results)})


if __name__ == "__main__":
    main()
