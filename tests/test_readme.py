"""The README's tables are those of the registry and the results, and its example runs."""

import re

import pytest

from experiments.readme_tables import ROOT, with_tables
from jbackprop import VJPError


def test_the_tables_are_up_to_date():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_tables(readme) == readme, "run: python -m experiments.readme_tables"


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
    with pytest.raises(ValueError, match=r"the page: the marks .* exactly once"):
        with_tables("no tables here")
