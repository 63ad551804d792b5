"""One process of `mutation.py`: a pytest session that lives as long as there are mutants, and breaks them one by one.

    python -m experiments.mutation_worker '{"number": 0, "files": [...], ...}'

A file is taken by creating its `.claim` in the notes folder, so that no two workers take the same one.
"""

import ast
import json
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from experiments.mutants import Mutant
from experiments.mutation import PACKAGE, ROOT, mutants_in
from experiments.mutation_candidates import candidates
from experiments.mutation_live import Live, empty_caches
from experiments.mutation_results import explained

CPU_SECONDS = 20  # of one test, and ten times what it takes unbroken
ANOTHER_PROCESS = ("subprocess", "")  # what runs there is not seen: it may be anything


class TooLong(Exception):
    """A mutant that loops for ever."""


@contextmanager
def at_most(cpu_seconds: float) -> Iterator[None]:
    """Raises TooLong after that much work of this process, however busy the machine is."""

    def stop(*_):
        raise TooLong

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class Breaker:
    """A pytest plugin whose main loop is over mutants instead of tests."""

    def __init__(self, number: int, notes: str, files: list[str], function: str | None, survivors, same: bool) -> None:
        self.number, self.notes = number, Path(notes)
        self.own = self.notes / f"worker-{number}.jsonl"
        self.same = same
        self.mutants = {file: mutants_in(file, function, survivors) for file in files}
        self.reached: dict[str, set[tuple[str, str]]] = {}
        self.seconds: dict[str, float] = {}
        self.kills: dict[str, list[str]] = defaultdict(list)
        self.failed = False

    def pytest_configure(self) -> None:
        import hypothesis  # here, not above: pytest wants to rewrite its plugin's assertions first

        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # no shrinking of what fails
        hypothesis.settings.register_profile("mutation", phases=phases, database=None)
        hypothesis.settings.load_profile("mutation")

    def pytest_runtest_logreport(self, report) -> None:
        self.failed |= report.failed

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session) -> bool:
        self.live, self.items = Live(self.notes / f"shadow-{self.number}-{time.time_ns()}"), session.items
        self.names = {item.nodeid: dict(item.dtest.globs) for item in self.items if hasattr(item, "dtest")}
        done = self._notes_of_a_former_life()
        for file in self.mutants:
            if self._claim(file):
                self._break_file(file, done)
        return True

    def _note(self, **note: Any) -> None:
        with self.own.open("a") as out:
            out.write(json.dumps(note) + "\n")

    def _notes_of_a_former_life(self) -> set[str]:
        """Returns the mutants tried before this process died and was started again; the last one killed it."""
        if not self.own.exists():
            return set()
        notes = [json.loads(line) for line in self.own.read_text().splitlines()]
        if notes and "trying" in notes[-1]:
            self._note(**notes[-1]["trying"], killed_by="the process died")
        return {json.dumps(note["trying"]) for note in notes if "trying" in note}

    def _claim(self, file: str) -> bool:
        claim = self.notes / (file.replace("/", "-") + ".claim")
        try:
            with claim.open("x") as out:
                out.write(str(self.number))
            return True
        except FileExistsError:
            return claim.read_text() == str(self.number)

    def _break_file(self, file: str, done: set[str]) -> None:
        start = time.perf_counter()
        items = self._items_that_reach(file)
        for mutant in self.mutants[file]:
            about = {name: getattr(mutant, name) for name in ("file", "function", "line", "old", "new")}
            if explained(about) and not self.same:
                self._note(**about, killed_by="")
            elif json.dumps(about) not in done:
                self._note(trying=about)
                self._note(**about, killed_by=self._killer(mutant, items))
        fail_anyway = [item.nodeid for item in candidates(file, self.items) if item.nodeid not in self.reached]
        empty_caches()
        fail_anyway += [item.nodeid for item in self._used(items) if not self._passes(item)]
        self._note(file=file, file_seconds=time.perf_counter() - start, fail_anyway=fail_anyway)

    def _used(self, items: list) -> list:
        killers = {nodeid for killed in self.kills.values() for nodeid in killed}
        return [item for item in items if item.nodeid in killers]

    def _items_that_reach(self, file: str) -> list:
        """Runs, unbroken, every test that may concern the file, and returns those that execute some of it."""
        for item in candidates(file, self.items):
            if item.nodeid not in self.seconds:
                reached, start = set(), time.perf_counter()

                def enter(frame, event, argument, reached=reached):
                    code = frame.f_code
                    if code.co_filename.startswith(str(PACKAGE)):
                        reached.add((code.co_filename, code.co_qualname.split(".<locals>")[0]))
                    elif code.co_qualname == "Popen.__init__":
                        reached.add(ANOTHER_PROCESS)

                sys.settrace(enter)
                passed = self._passes(item)
                sys.settrace(None)
                self.seconds[item.nodeid] = time.perf_counter() - start
                if passed:
                    self.reached[item.nodeid] = reached
        path = str(PACKAGE / file)
        return [
            item
            for item in candidates(file, self.items)
            if any(filename in (path, ANOTHER_PROCESS[0]) for filename, _ in self.reached.get(item.nodeid, ()))
        ]

    def _killer(self, mutant: Mutant, items: list) -> str:
        """Returns the test that fails, "" if none does."""
        key = (str(PACKAGE / mutant.file), mutant.function)
        near = [item for item in items if {key, ANOTHER_PROCESS} & self.reached[item.nodeid]]
        if mutant.old.startswith("def "):  # a default, which is read without a call
            near = [item for item in candidates(mutant.file, self.items) if item.nodeid in self.reached]
        elif not isinstance(mutant.tree, ast.FunctionDef):
            near = items
        try:
            mend = self.live.broken(mutant)
        except Exception as error:
            return f"import: {error!r}"
        with mend:
            empty_caches()
            for item in sorted(near, key=lambda item: self._cost(mutant, item)):
                if not self._passes(item):
                    self.kills[f"{mutant.file} {mutant.function}"].append(item.nodeid)
                    self.kills[mutant.file].append(item.nodeid)
                    return item.nodeid
        return ""

    def _cost(self, mutant: Mutant, item) -> float:
        """Cheap tests first, and those that killed a mutant of the same function or file before."""
        here = self.kills[f"{mutant.file} {mutant.function}"][-20:].count(item.nodeid)
        near = self.kills[mutant.file][-20:].count(item.nodeid)
        return (0.05 + self.seconds[item.nodeid]) / (1 + 4 * here + near)

    def _passes(self, item) -> bool:
        self.failed = False
        if item.nodeid in self.names:
            item.dtest.globs.update(self.names[item.nodeid])  # a docstring's run empties them
        with at_most(CPU_SECONDS + 10 * self.seconds.get(item.nodeid, 10.0)):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return not self.failed


def main() -> int:
    task = json.loads(sys.argv[1])
    tests = [test for test in task.pop("tests") if (ROOT / test).exists()]
    code = pytest.main(["-q", "--tb=line", f"--rootdir={ROOT}", *tests], plugins=[Breaker(**task)])
    return 0 if code == pytest.ExitCode.TESTS_FAILED else code  # they failed because of the mutants


if __name__ == "__main__":
    sys.exit(main())
