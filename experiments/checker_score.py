"""The score of `check_vjp` on rules that are known to be wrong or right, beside two other checkers on the same rules.

    python -m experiments.checker_score [--seeds 5] [--dtypes float32 float64 bfloat16] [--workers 2] [--only TEXT]

`check_grads` is `jax.test_util.check_grads(modes=["rev"], order=1)` with its defaults. `gradcheck` does what
`torch.autograd.gradcheck` does, with its tolerances: the whole Jacobian in float64, by central differences and by the
rule, element by element. Both see the first seed alone, gradcheck in float64 alone and no rule whose Jacobian would
take gigabytes. A checker that raises on a wrong rule has caught it; one that raises or fails on a right rule has given
a false alarm.

`check_vjp` runs with all its clauses at the first seed. Later seeds draw other arguments and cotangents and leave out
what does not depend on numbers (`vmap`, `scan`, `checkpoint`, no `jit`), but for rules whose mistake lies there.

Prints the table and what was missed, and writes experiments/results/checker_score.json and .png. 16 minutes on two
CPU cores. Ctrl-C keeps the seeds that are complete.
"""

import argparse
import json
import multiprocessing
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Compilation is most of the time, and code that LLVM optimises less computes the same. Read when JAX starts. The older
# code generator compiles twice as fast; jaxlib from 0.11 on is without it, and refuses the flag.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    + (" --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""),
)

import jax
import jax.numpy as jnp
import numpy as np

from experiments.other_checkers import check_grads_accepts, gradcheck_accepts, gradcheck_can
from experiments.provenance import provenance
from experiments.readme_tables import score_table
from jbackprop.verify.compare import compare_vjp
from jbackprop.verify.corpus.case import RightRule, WrongRule
from jbackprop.verify.corpus.right import RIGHT
from jbackprop.verify.corpus.wrong import WRONG

RESULTS = Path(__file__).parent / "results"
LISTED = (  # the kinds that a diagnosis must name
    "sign", "factor", "missing sum", "extra sum", "transposed", "flipped", "swapped", "cotangent ignored", "part",
    "ties", "missing term",
)  # fmt: skip
OF_NUMBERS_ALONE = {"skip": ("vmap", "scan", "checkpoint", "jit")}
ELSEWHERE = ("batching", "impure")
JOBS_OF_A_POOL = 400  # a process keeps some of what it has compiled; `max_tasks_per_child` can hang in Python 3.11
Outcome = dict[str, Any]


def judge(row: WrongRule | RightRule, dtype: str, seed: int) -> Outcome:
    """Runs `compare_vjp` on one rule; `others` too with the first seed."""
    with jax.enable_x64(dtype == "float64"):
        function, args, kwargs = row.probe(np.random.default_rng(seed), jnp.dtype(dtype))
        every_clause = seed == 0 or getattr(row, "kind", "") in ELSEWHERE
        options = {**({} if every_clause else OF_NUMBERS_ALONE), **row.options}
        start = time.perf_counter()
        report = compare_vjp(function, *args, kwargs=kwargs, seed=seed, **options)
        outcome: Outcome = {
            "name": row.name, "dtype": dtype, "seed": seed, "accepted": report.ok,
            "seconds": time.perf_counter() - start, "wrong": sorted(report.wrong),
            "diagnoses": [[d.argument, d.kind, d.sentence] for d in report.diagnoses],
        }  # fmt: skip
        if seed == 0:
            start = time.perf_counter()
            outcome["check_grads"] = check_grads_accepts(function, args, dict(kwargs))
            outcome["check_grads_seconds"] = time.perf_counter() - start
        if seed == 0 and dtype == "float64" and gradcheck_can(function, args, dict(kwargs)):
            start = time.perf_counter()
            outcome["gradcheck"] = gradcheck_accepts(function, args, dict(kwargs))
            outcome["gradcheck_seconds"] = time.perf_counter() - start
    return outcome


def _job(job: tuple[str, int, str, int]) -> Outcome:
    corpus, index, dtype, seed = job
    rows: Any = WRONG if corpus == "wrong" else RIGHT
    outcome = judge(rows[index], dtype, seed)
    jax.clear_caches()
    return {"corpus": corpus, **outcome}


def _outcomes(jobs: list[tuple[str, int, str, int]], workers: int) -> Iterator[Outcome]:
    spawn = multiprocessing.get_context("spawn")
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent alone
    for begin in range(0, len(jobs), JOBS_OF_A_POOL):
        with ProcessPoolExecutor(workers, spawn, ignore) as pool:
            futures = [pool.submit(_job, job) for job in jobs[begin : begin + JOBS_OF_A_POOL]]
            try:
                for done in as_completed(futures):
                    yield _said(done.result())
            except KeyboardInterrupt:
                pool.shutdown(cancel_futures=True)
                return


def _said(outcome: Outcome) -> Outcome:
    if outcome["accepted"] == (outcome["corpus"] == "wrong"):
        what = "missed" if outcome["accepted"] else "false alarm"
        print(f"{what}: {outcome['name']} ({outcome['dtype']}, seed {outcome['seed']})", flush=True)
    return outcome


def summary(outcomes: list[Outcome]) -> dict[str, dict[str, Any]]:
    """Returns, by checker and dtype, what was caught, falsely alarmed of, and named, and the median seconds."""
    rows = {row.name: row for row in WRONG}
    table: dict[str, dict[str, Any]] = {}
    for dtype in dict.fromkeys(outcome["dtype"] for outcome in outcomes):
        of_dtype = [outcome for outcome in outcomes if outcome["dtype"] == dtype]
        for checker, key in (("check_vjp", "accepted"), ("check_grads", "check_grads"), ("gradcheck", "gradcheck")):
            found = [outcome for outcome in of_dtype if key in outcome]
            wrong = [outcome for outcome in found if outcome["corpus"] == "wrong"]
            right = [outcome for outcome in found if outcome["corpus"] == "right"]
            if not found:
                continue
            seconds = "seconds" if checker == "check_vjp" else f"{key}_seconds"
            table[f"{checker}, {dtype}"] = {
                "wrong": len(wrong),
                "caught": sum(not outcome[key] for outcome in wrong),
                "right": len(right),
                "false_alarms": sum(not outcome[key] for outcome in right),
                "seconds": float(np.median([outcome[seconds] for outcome in found])),
            }
            if checker == "check_vjp":
                table[f"{checker}, {dtype}"] |= _named(wrong, rows)
    return table


def _named(wrong: list[Outcome], rows: dict[str, WrongRule]) -> dict[str, int]:
    named = [outcome for outcome in wrong if rows[outcome["name"]].arguments]
    listed = [outcome for outcome in wrong if rows[outcome["name"]].kind in LISTED]
    return {
        "with_argument": len(named),
        "argument_named": sum(outcome["wrong"] == sorted(rows[outcome["name"]].arguments) for outcome in named),
        "listed": len(listed),
        "diagnosed": sum(right_kind(outcome, rows[outcome["name"]]) for outcome in listed),
    }


def right_kind(outcome: Outcome, row: WrongRule) -> bool:
    """Whether a diagnosis names the mistake, or one of those that are the same for this rule."""
    return any(kind in (row.kind, *row.same_as) for _, kind, _ in outcome["diagnoses"])


def plot(results: dict[str, Any], path: Path) -> None:
    """Draws caught wrong rules and false alarms, checker by checker, by kind of mistake."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 6), width_ratios=[1, 2], layout="constrained")
    summaries = results["summary"]
    names = list(summaries)[::-1]
    missed = [1 - summaries[name]["caught"] / max(1, summaries[name]["wrong"]) for name in names]
    alarms = [summaries[name]["false_alarms"] / max(1, summaries[name]["right"]) for name in names]
    places = np.arange(len(names))
    for offset, shares, words, color in (
        (0.2, missed, "wrong rules missed", "#b2182b"),
        (-0.2, alarms, "false alarms", "#2166ac"),
    ):
        bars = axes[0].barh(places + offset, [100 * x for x in shares], 0.4, label=words, color=color)
        axes[0].bar_label(bars, [f"{100 * x:.0f}%" if x else "none" for x in shares], padding=3, fontsize=8)
    axes[0].set(yticks=places, yticklabels=names, xlabel="%", xlim=(0, 100))
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside upper left", ncols=2)
    kinds = list(results["missed_by_kind"])
    for offset, (checker, color) in enumerate((("check_grads", "#f4a582"), ("gradcheck", "#92c5de"))):
        shares = [100 * results["missed_by_kind"][kind].get(checker, 0.0) for kind in kinds]
        axes[1].bar(np.arange(len(kinds)) + 0.4 * offset, shares, 0.4, label=checker, color=color)
    axes[1].set(ylabel="% missed, first seed, all dtypes", title="missed by kind of mistake (check_vjp: see left)")
    axes[1].set_xticks(np.arange(len(kinds)) + 0.2, kinds, rotation=60, ha="right")
    axes[1].set_ylim(0, 118)
    axes[1].legend(frameon=False, loc="upper right", ncols=2)
    figure.savefig(path, dpi=110)


def missed_by_kind(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Returns the share of wrong rules of each kind that each of the other checkers accepts."""
    rows = {row.name: row for row in WRONG}
    shares: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        for checker in ("check_grads", "gradcheck"):
            if outcome["corpus"] == "wrong" and checker in outcome:
                shares[rows[outcome["name"]].kind][checker].append(outcome[checker])
    return {kind: {name: float(np.mean(x)) for name, x in found.items()} for kind, found in sorted(shares.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64", "bfloat16"], help="bfloat16: one seed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="rules whose name contains this; nothing is written then")
    options = parser.parse_args()
    corpora: Any = (("wrong", WRONG), ("right", RIGHT))
    jobs = [
        (corpus, index, dtype, seed)
        for seed in range(options.seeds)
        for dtype in options.dtypes
        for corpus, rows in corpora
        for index, row in enumerate(rows)
        if dtype in row.dtypes and options.only in row.name and (seed == 0 or dtype != "bfloat16")
    ]
    start = time.perf_counter()
    outcomes = list(_outcomes(jobs, options.workers))
    left = Counter(seed for *_, seed in jobs) - Counter(outcome["seed"] for outcome in outcomes)
    outcomes = [outcome for outcome in outcomes if not left[outcome["seed"]]]
    if not outcomes:
        raise SystemExit("no seed is complete: nothing is written")
    results = {
        "summary": summary(outcomes),
        "missed_by_kind": missed_by_kind(outcomes),
        "seeds": len({outcome["seed"] for outcome in outcomes}),
        "minutes": (time.perf_counter() - start) / 60,
        **provenance("jax", "jaxlib", "numpy"),
    }
    print(score_table(results))
    for outcome in sorted(outcomes, key=lambda outcome: outcome["name"]):
        row = next((row for row in WRONG if row.name == outcome["name"]), None)
        if row and outcome["seed"] == 0 and row.kind in LISTED and not right_kind(outcome, row):
            print(f"{outcome['dtype']}, {row.name}: {row.kind}, diagnosed {outcome['diagnoses']}")
    if not options.only:
        RESULTS.joinpath("checker_score.json").write_text(json.dumps(results, indent=1) + "\n")
        plot(results, RESULTS / "checker_score.png")


if __name__ == "__main__":
    main()
