"""The README's tables are those of the registry and the results, and its example runs."""

import re
import runpy
from pathlib import Path

import pytest

from jbackprop import VJPError

ROOT = Path(__file__).parent.parent


def test_the_tables_are_up_to_date():
    tables = runpy.run_path(str(ROOT / "experiments" / "readme_tables.py"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert tables["with_tables"](readme) == readme, "run: python experiments/readme_tables.py"


def programs():
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_caught_bug_says_what_its_comment_says():
    _, program = programs()
    assert len(program.strip().splitlines()) <= 6
    with pytest.raises(VJPError, match="a factor 2 is missing") as caught:
        exec(compile(program, "README.md", "exec"), {})
    assert str(caught.value.report.diagnoses[0]) in program


def test_the_twenty_lines_run_and_the_gradients_agree(capsys):
    program, _ = programs()
    assert len(program.strip().splitlines()) <= 22
    exec(compile(program, "README.md", "exec"), {})
    errors = [float(line.split()[1]) for line in capsys.readouterr().out.splitlines()]
    assert len(errors) == 4
    assert max(errors) <= 1e-6


def test_a_missing_table_is_an_error():
    tables = runpy.run_path(str(ROOT / "experiments" / "readme_tables.py"))
    with pytest.raises(ValueError, match="exactly once"):
        tables["with_tables"]("no tables here")
