"""The command line: words and exit codes that all commands share, `list` and `explain`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jbackprop import cli
from jbackprop.verify.cases import RULES
from jbackprop.verify.network_cases import NETWORKS

ROOT = Path(__file__).parents[1]


def test_without_arguments_it_says_what_there_is(capsys):
    assert cli.main([]) == 2
    assert "jbackprop COMMAND" in capsys.readouterr().out


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {command}" in printed for command in cli.COMMANDS)


@pytest.mark.parametrize(("command", "hint"), [("tarin", "did you mean 'train'?"), ("xyz", "choose one of train, ")])
def test_an_unknown_command_is_misuse(capsys, command, hint):
    assert cli.main([command]) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(capsys, command):
    assert cli.main([command, "--help"]) == 0
    assert f"usage: jbackprop {command}" in capsys.readouterr().out


def test_python_dash_m_is_the_same(environment):
    command = [sys.executable, "-m", "jbackprop", "explain", "relu"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "def relu_bwd" in done.stdout


def test_letters_that_a_terminal_lacks_are_no_error(environment):
    command = [sys.executable, "-m", "jbackprop", "explain", "relu"]
    done = subprocess.run(command, env=environment | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=True)
    assert b"dz = da ? 1[z > 0]" in done.stdout


def test_list_names_every_rule_and_network(capsys):
    assert cli.main(["list"]) == 0
    words = capsys.readouterr().out.split()
    assert {case.name for case in (*RULES, *NETWORKS)} <= set(words)


@pytest.mark.parametrize("case", RULES, ids=lambda case: case.name)
def test_explain_shows_each_rule(capsys, case):
    assert cli.main(["explain", case.name]) == 0
    printed = capsys.readouterr().out
    for words in (case.formula, case.shapes, case.source, f"jbackprop/layers/{case.name}.py"):
        assert words in printed
    assert f"def {case.name}_fwd" in printed
    assert f"def {case.name}_bwd" in printed
    assert str(ROOT) not in printed


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_explain_shows_each_network(capsys, case):
    assert cli.main(["explain", case.name]) == 0
    printed = capsys.readouterr().out
    assert case.formula in printed
    assert "jbackprop/networks/" in printed
    assert "def backward" in printed
    facts = printed.partition("\ndef ")[0]
    assert "$" not in facts
    assert "\nshapes " in facts or case.name.startswith("graph")  # whose rules have their own


@pytest.mark.parametrize("command", ["explain", "compare"])
def test_an_unknown_name_is_misuse_with_the_close_ones(capsys, command):
    assert cli.main([command, "lineer"]) == 2
    assert "no rule or network is called 'lineer': did you mean linear" in capsys.readouterr().err
    assert cli.main([command, "zzz"]) == 2
    assert "`jbackprop list` shows all" in capsys.readouterr().err


@pytest.mark.parametrize("columns", [40, 80, 150])
def test_list_fits_the_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main(["list"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


def test_the_other_commands_need_no_extra(environment):
    program = """
import sys
for name in ("optax", "msgspec", "tyro", "rich", "matplotlib", "sklearn", "tensorflow_datasets"):
    sys.modules[name] = None
from jbackprop import cli
sys.exit(cli.main(["list"]) or cli.main(["explain", "conv2d"]) or cli.main(["compare", "regression"]))
"""
    subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)


def test_a_closed_pipe_is_no_error(environment):
    # `jbackprop list | head -1`
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "jbackprop", "list"]
    done = subprocess.run(command, env=environment, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 0
