"""The tool that breaks the code must break it, notice what the tests notice, and mend it again."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from experiments import mutation
from experiments.mutants import mutants_of, mutated_source
from experiments.mutation import ROOT, mutants_in
from experiments.mutation_candidates import candidates
from experiments.mutation_explained import EXPLAINED
from experiments.mutation_live import Live
from jbackprop.layers.linear import linear
from jbackprop.layers.mean_squared_error import mean_squared_error

SMALL = '''
Alias = tuple[int, int]

def f_bwd(n: int = 2, *, x):
    """Returns 1 + 1."""
    if n < 1:
        raise ValueError(f"f: n is {n + 1}")
    dx = -jnp.sum(x * n, 0)
    dw = x[::-1].T if n == 3 else jnp.where(x > 0, x, 5.0)
    return dx, dw
'''

EXPECTED = {
    "def f_bwd(n=2, *, x):": ["def f_bwd(n=1, *, x):"],
    "if n < 1:": ["if False:", "if n <= 1:", "if n < 0:"],
    "dx = -jnp.sum(x * n, 0)": [
        "dx = jnp.sum(x * n, 0)",
        "dx = -(x * n)",
        "dx = -jnp.take(x * n, 0, 0)",
        "dx = -jnp.sum(x / n, 0)",
        "dx = -jnp.sum(x, 0)",
        "dx = -jnp.sum(n, 0)",
        "dx = -jnp.sum(x * n, 1)",
    ],
    "dw = x[::-1].T if n == 3 else jnp.where(x > 0, x, 5.0)": [
        "dw = jnp.where(x > 0, x, 5.0) if n == 3 else x[::-1].T",
        "dw = x[::-1].T",
        "dw = jnp.where(x > 0, x, 5.0)",
        "dw = x[::-1] if n == 3 else jnp.where(x > 0, x, 5.0)",
        "dw = x[:].T if n == 3 else jnp.where(x > 0, x, 5.0)",
        "dw = x[::1].T if n == 3 else jnp.where(x > 0, x, 5.0)",
        "dw = x[::-0].T if n == 3 else jnp.where(x > 0, x, 5.0)",
        "dw = x[::-1].T if n != 3 else jnp.where(x > 0, x, 5.0)",
        "dw = x[::-1].T if n == 2 else jnp.where(x > 0, x, 5.0)",
        "dw = x[::-1].T if n == 3 else jnp.where(x > 0, 5.0, x)",
        "dw = x[::-1].T if n == 3 else x",
        "dw = x[::-1].T if n == 3 else 5.0",
        "dw = x[::-1].T if n == 3 else jnp.where(x >= 0, x, 5.0)",
        "dw = x[::-1].T if n == 3 else jnp.where(x > 1, x, 5.0)",
        "dw = x[::-1].T if n == 3 else jnp.where(x > 0, x, 6.0)",
    ],
    "return (dx, dw)": [
        "return (dw, dx)",
        "return (jax.tree.map(jnp.zeros_like, dx), dw)",
        "return (dx, jax.tree.map(jnp.zeros_like, dw))",
    ],
}


def test_a_small_function_has_the_mutants_that_it_should():
    found = {}
    for mutant in mutants_of(SMALL, "small.py"):
        found.setdefault(mutant.old, []).append(mutant.new)
    assert {old: sorted(new) for old, new in found.items()} == {old: sorted(new) for old, new in EXPECTED.items()}


def test_einsum_subscripts_are_transposed():
    found = {m.new for m in mutants_of('def f(a, b):\n    return einsum("...i,io->...o", a, b)', "f.py")}
    assert {"return einsum('...i,oi->...o', a, b)", "return einsum('io,...i->...o', a, b)"} <= found


def test_a_mutant_reaches_the_decorated_rule_and_is_mended(tmp_path, monkeypatch):
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    x, y = jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])
    live = Live(tmp_path)
    mutants = mutants_in("layers/mean_squared_error.py", "mean_squared_error_bwd")
    (sign_flipped,) = [m for m in mutants if m.new == "dprediction = 2 * error * dL_n"]
    assert jax.grad(mean_squared_error)(x, y).tolist() == [-2.0, 0.0]
    with live.broken(sign_flipped):
        assert jax.grad(mean_squared_error)(x, y).tolist() == [2.0, 0.0]
    assert jax.grad(mean_squared_error)(x, y).tolist() == [-2.0, 0.0]

    swapped = [m for m in mutants_in("layers/linear.py", "linear_bwd") if m.new == "return (dw, dx, db)"]
    square = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    dx, dw = jax.grad(lambda x, w: linear(x, w).sum(), (0, 1))(square, 10 * square)
    with live.broken(swapped[0]):
        assert jax.tree.map(
            jnp.array_equal, jax.grad(lambda x, w: linear(x, w).sum(), (0, 1))(square, 10 * square), (dw, dx)
        ) == (True, True)


def test_a_test_of_its_own_concerns_a_file_whatever_else_it_names():
    named = [f"tests/layers/{name}" for name in ("test_conv2d_of_images.py::test_on_one_cpu", "test_x.py::test_relu")]
    items = [SimpleNamespace(nodeid=name) for name in named]
    assert candidates("layers/conv2d_of_images.py", items) == items[:1]


def test_what_a_test_looks_at_is_killed_and_what_none_looks_at_survives(tmp_path):
    (tmp_path / "test_half.py").write_text(
        """
import jax, jax.numpy as jnp
from jbackprop.layers.squared_error import squared_error

def test_the_second_cotangent_alone():
    vjp = jax.vjp(squared_error, jnp.array([1.0]), jnp.array([4.0]))[1]
    assert vjp(jnp.array([5.0]))[1].tolist() == [30.0]
"""
    )
    result = tmp_path / "result.json"
    command = [sys.executable, "-m", "experiments.mutation", "--only", "layers/squared_error.py", "--workers", "1"]
    options = ["--function", "squared_error_bwd", "--tests", str(tmp_path), "--json", str(result)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(result.read_text())
    survivors = {(mutant["old"], mutant["new"]) for mutant in found["survived"]}
    assert ("dprediction = -dtarget", "dprediction = dtarget") in survivors
    assert not [old for old, _ in survivors if old.startswith("dtarget =")]
    assert found["files"]["layers/squared_error.py"]["killed"] > 0


def test_a_choice_of_no_mutant_is_misuse(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mutation", "--only", "layers/linear.py", "--function", "no_such_function"])
    with pytest.raises(SystemExit) as ended:
        mutation.main()
    assert ended.value.code == 2
    assert "no mutant is chosen" in capsys.readouterr().err


def test_a_run_that_was_stopped_before_its_first_file_is_not_written(tmp_path, monkeypatch):
    target = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", ["mutation", "--only", "layers/relu.py", "--json", str(target)])
    monkeypatch.setattr(mutation, "run", lambda plan, workers: None)
    monkeypatch.setattr(mutation.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit, match="nothing is written"):
        mutation.main()
    assert not target.exists()


@pytest.mark.parametrize("file", EXPLAINED)
def test_what_is_explained_is_still_a_mutant(file):
    for function, explained in EXPLAINED[file].items():
        mutants = {(mutant.old, mutant.new) for mutant in mutants_in(file, function)}
        assert set(explained) <= mutants, function


def test_the_source_for_other_processes_has_the_mutant_and_keeps_the_rest():
    source = "@jax.jit\ndef f(x: int) -> int:\n    return x + 1\n\nclass C:\n    def g(self):\n        return 2"
    texts = {mutated_source(source, mutant) for mutant in mutants_of(source, "f.py")}
    assert source.replace("x + 1", "x - 1").strip().replace("\n\n", "\n") in {t.replace("\n\n", "\n") for t in texts}
    assert any("return 1" in text and "return x + 1" in text for text in texts)
