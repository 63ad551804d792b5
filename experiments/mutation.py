"""Breaks every line of the layers and networks in turn, and shows that a test notices.

    python -m experiments.mutation [--only layers/linear.py ...] [--function '*_bwd'] [--again]
                                   [--same] [--tests tests/layers ...] [--workers 2] [--json FILE]

Run from the root of the repository. Each mutant of `mutants.py` replaces the code of one function in the live module
(the rules and the registry keep pointing at the same function object), the tests that execute this function run until
one fails, and the code is put back. JAX's caches are emptied before each mutant, XLA's optimizations are off and its
compilations are kept on disk, so that only what a mutant changed is compiled again.

Prints survivors as they appear and a table per file, and updates experiments/results/mutation.json and the counts of
experiments/README.md. A survivor is either explained in `mutation_explained.py` (it computes the same) or a gap in the
tests; the exit code is 1 if there is a gap. `--again` tries only the gaps of the last run: after a new test has been
written. What is explained is not tried unless `--same` asks for it.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from experiments.mutants import Mutant, mutants_of
from experiments.mutation_results import counts, explained, read, table, updated, write

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "jbackprop"
RESULTS = ROOT / "experiments" / "results" / "mutation.json"
CACHE = Path(tempfile.gettempdir()) / "jbackprop-mutation-xla"  # one folder a worker, kept for the next run
FOLDERS = ("layers", "networks")
TESTS = ("tests/layers", "tests/test_jacobians.py", "tests/networks", "jbackprop/layers", "jbackprop/networks")
IDENTITY = ("file", "function", "old", "new")


@dataclass(frozen=True)
class Plan:
    """What is broken, what must notice, and the folder in which the workers note what they find."""

    files: tuple[str, ...]
    function: str | None
    survivors: list[dict[str, str]] | None  # these mutants alone; None: all
    same: bool  # run also those that are known to compute the same
    tests: tuple[str, ...]
    notes: str


def files(only: list[str]) -> list[str]:
    """Returns the mutated files relative to the package, those asked for or all."""
    found = [str(path.relative_to(PACKAGE)) for folder in FOLDERS for path in sorted((PACKAGE / folder).glob("*.py"))]
    unknown = set(only) - set(found)
    if unknown:
        raise SystemExit(f"mutation: {sorted(unknown)[0]!r} is no file of {', '.join(FOLDERS)}")
    return [file for file in found if (not only or file in only) and not file.endswith("__init__.py")]


def mutants_in(file: str, function: str | None = None, survivors: list[dict[str, str]] | None = None) -> list[Mutant]:
    """Returns the mutants of a file, of its functions of that name or pattern, or those among the survivors."""
    mutants = mutants_of((PACKAGE / file).read_text(), file)
    found = [mutant for mutant in mutants if fnmatch(mutant.function, function or "*")]
    if survivors is None:
        return found
    return [mutant for mutant in found if {name: getattr(mutant, name) for name in IDENTITY} in survivors]


def worker(number: int, plan: Plan) -> subprocess.Popen[bytes]:
    """Starts a process that takes files from the common list until none is left, and notes its verdicts."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(CACHE / str(number)),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    command = [sys.executable, "-m", "experiments.mutation_worker", json.dumps({**asdict(plan), "number": number})]
    with Path(plan.notes, f"worker-{number}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def read_notes(plan: Plan) -> list[dict[str, Any]]:
    """Returns what all workers noted so far, complete lines only."""
    lines = [line for path in sorted(Path(plan.notes).glob("*.jsonl")) for line in path.read_text().splitlines(True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def run(plan: Plan, workers: int) -> None:
    """Runs all workers to their end; one that dies (a mutant may crash XLA) is started again behind that mutant."""
    running = {number: worker(number, plan) for number in range(workers)}
    try:
        _watch(running, plan)
    finally:
        for process in running.values():
            process.kill()


def _watch(running: dict[int, subprocess.Popen[bytes]], plan: Plan) -> None:
    told, restarts = set(), 0
    while running:
        time.sleep(0.5)
        for number, process in list(running.items()):
            if process.poll() is None:
                continue
            del running[number]
            if process.returncode:
                restarts += 1
                if restarts > 20:
                    raise SystemExit(Path(plan.notes, f"worker-{number}.log").read_text()[-4000:])
                running[number] = worker(number, plan)
        for note in read_notes(plan):
            if note.get("killed_by") == "" and not explained(note):
                text = f"survived  {note['file']}:{note['line']}\n  - {note['old']}\n  + {note['new']}"
                if text not in told:
                    print(text, flush=True)
                    told.add(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], help="files relative to jbackprop/, as layers/linear.py")
    parser.add_argument(
        "--function", help="functions of this name or pattern alone; the result is not kept unless --json is given"
    )
    parser.add_argument("--again", action="store_true", help="only the mutants that survived the last run")
    parser.add_argument("--same", action="store_true", help="try also what is explained as computing the same")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="the tests that must notice")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help=f"where the result is kept (default: {RESULTS.relative_to(ROOT)})")
    options = parser.parse_args()
    target = options.json or RESULTS
    last = read(target)
    survivors = [{name: m[name] for name in IDENTITY} for m in last.get("survived", ())] if options.again else None
    numbers = {file: len(mutants_in(file, options.function, survivors)) for file in files(options.only)}
    chosen = sorted((file for file in numbers if numbers[file]), key=lambda file: -numbers[file])
    if not chosen:
        parser.error("no mutant is chosen")
    notes = tempfile.mkdtemp(prefix="mutation-")
    plan = Plan(tuple(chosen), options.function, survivors, options.same, tuple(options.tests), notes)
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):  # keeps the files that are finished
            run(plan, options.workers)
        result = updated(last, read_notes(plan), options.again)
    finally:
        shutil.rmtree(notes, ignore_errors=True)
    if not result["files"]:
        raise SystemExit("no file is finished: nothing is written")
    print(table(result))
    if options.json or not options.function:
        write(target, result)
    if target == RESULTS and not options.function:
        # Here: the workers' tests put a hook before the first import of jbackprop.
        from experiments.readme_tables import write_tables

        write_tables(ROOT / "experiments" / "README.md", {"mutation_counts": lambda: counts(result)})
    for test in result["fails_without_a_mutant"]:
        print(f"fails without a mutant, not used: {test}")
    return 1 if result["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
