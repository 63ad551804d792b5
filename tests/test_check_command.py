"""`jbackprop check`: functions found in the user's folder, arguments drawn as described, words and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jbackprop import cli
from jbackprop.commands.check_call import CallError, arranged, read_static
from jbackprop.verify.clause_names import CLAUSES

ROOT = Path(__file__).parents[1]
QUICK = [f"--skip={clause}" for clause in CLAUSES if clause != "value"]
LAYERS = """
import jax
import jax.numpy as jnp

print("a word of the module itself")

@jax.custom_vjp
def scale(x, w):
    return x * w

scale.defvjp(lambda x, w: (x * w, (x, w)), lambda residuals, dy: (dy * residuals[1], (-dy * residuals[0]).sum(0)))

def tree(params, x, *, power):
    return (x @ params["w"] + params["b"]) ** power

def product(x):
    return x @ jnp.ones((3, 3), x.dtype)

class Layers:
    @staticmethod
    def sine(x):
        return jnp.sin(x)

    @staticmethod
    def scaled(x, scale):
        return scale * jnp.sin(x)

def sine_fwd(x, scale):
    return scale * jnp.sin(x), (x, scale)

def sine_bwd(residuals, dy):
    x, scale = residuals
    return dy * scale * jnp.cos(x), None

def leaves(x):
    raise SystemExit(7)

pair = (sine_fwd, sine_bwd)
number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with a module of layers; what is imported from it is forgotten again."""
    known = set(sys.modules)
    (tmp_path / "users_layers.py").write_text(LAYERS)
    (tmp_path / "users_mistake.py").write_text("import os\n\nx = 1 / 0\n")
    (tmp_path / "users_import.py").write_text("import no_such_module_anywhere\n")
    (tmp_path / "users_syntax.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "users_exit.py").write_text("import sys\nsys.exit(3)\n")
    package = tmp_path / "users_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sums.py").write_text("from . import twice\n\ndef total(x):\n    return twice.twice(x).sum()\n")
    (package / "twice.py").write_text("def twice(x):\n    return 2 * x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("users_"):
            del sys.modules[name]


def test_a_wrong_rule_is_told_by_exit_code_table_page_and_json(folder, capsys):
    command = ["check", "users_layers:scale", "--arg", "f32[4,3]", "--arg", "f32[3]", *QUICK]
    assert cli.main([*command, "--json", "found.json", "--html", "found.html", "--seed", "5"]) == 1
    printed = capsys.readouterr().out
    assert "dw" in printed
    assert "page: found.html" in printed
    found = json.loads((folder / "found.json").read_text())
    assert found["ok"] is False
    assert [row["ok"] for row in found["rows"]] == [True, False]
    assert "--seed 5" in found["call"]
    page = (folder / "found.html").read_text()
    assert "WRONG" in page
    assert "users_layers:scale" in page
    assert sorted(path.name for path in folder.glob("*found*")) == ["found.html", "found.json"]


def test_a_pair_of_passes_is_compared_with_a_reference_and_a_static_number_is_not_differentiated(folder, capsys):
    command = ["check", "users_layers:pair", "--reference", "users_layers:Layers.scaled", "--arg", "0<f32[3]<1", *QUICK]
    assert cli.main([*command, "--static", "scale=2.0", "--kinks", "match", "--rtol", "1e-5"]) == 0
    printed = capsys.readouterr().out
    assert "compared with scaled" in printed
    assert "dscale" not in printed


def test_json_stands_alone_on_the_terminal_also_before_the_function(folder, capsys):
    x64 = jax.config.read("jax_enable_x64")
    command = ["check", "--json", "users_layers.py:tree", "--arg", '{"w": f64[4,3], "b": f64[3]}', "--arg", "f64[2,4]"]
    assert cli.main([*command, "--static", "power=2", "--seeds", "2", *QUICK]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert {row["argument"]: row["dtype"] for row in found["rows"]} == {
        "params['b']": "float64",
        "params['w']": "float64",
        "x": "float64",
    }
    assert "note: right with seeds 0 to 1" in found["notes"]
    assert "a word of the module itself" in printed.err
    assert jax.config.read("jax_enable_x64") == x64


def test_a_process_of_its_own_finds_a_file_of_a_package_and_has_devices(folder):
    command = [sys.executable, "-m", "jbackprop", "check", "users_package/sums.py:total", "--arg", "f32[3]"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    options = ["--devices", "3", "--json", *(skip for skip in QUICK if "sharding" not in skip)]
    done = subprocess.run([*command, *options], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["function"] == "total"
    assert found["environment"]["device"].startswith("3 x")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "which function? For example: jbackprop check my_layers:scale"),
        ("users_layer:scale", "there is no module 'users_layer' in "),
        ("users_layer:scale", "did you mean users_layers"),
        ("users_layers:scal", "users_layers has no function 'scal': did you mean scale?"),
        ("users_layers:xyz", "users_layers has no function 'xyz'; its functions: scale, tree, product, Layers"),
        ("users_layers:Layers.cosine", "users_layers:Layers has no function 'cosine': did you mean sine?"),
        ("users_layers.scale", "'users_layers.scale' names no function: write users_layers:scale"),
        ("users_layers.py", "write users_layers.py:function"),
        ("users_layers.inner:scale", "users_layers is a module, not a package: write users_layers:inner"),
        ("users-layers:scale", "'users-layers' is no module's name"),
        ("users_layers:number", "users_layers:number is no function but of type int"),
        ("users_lay.py:scale", "there is no file users_lay.py: did you mean users_layers.py"),
        (
            "users_mistake:f",
            "users_mistake cannot be imported: ZeroDivisionError: division by zero (users_mistake.py:3)",
        ),
        ("users_import:f", "No module named 'no_such_module_anywhere' (users_import.py:1)"),
        ("users_syntax.py:f", "cannot be imported: SyntaxError: invalid syntax (users_syntax.py:2)"),
        ("users_exit:f", "users_exit cannot be imported: SystemExit: 3 (users_exit.py:2)"),
        ("users_layers:scale --arg f32[3]", "scale(x, w): w missing; give an array as --arg SPEC"),
        ("users_layers:scale --arg f32 --arg f32 --arg f32", "takes 2 arguments by position here, got 3"),
        ("users_layers:scale --arg f32[3] --static v=1", "scale(x, w) has no argument 'v'"),
        ("users_layers:scale --arg f32[3] --static w=x=1", "--static w=x=1 cannot be read"),
        ("users_layers:scale --arg f32[3] --static w", "write name=value, for example n=3"),
        ("users_layers:tree --static power=none", "Python writes None"),
        ("users_layers:scale --arg x=f32 --static x=1", "x is given by --arg and by --static"),
        ("users_layers:scale --arg f32[3", "no ] closes this [\n  f32[3\n     ^\nfor example"),
        ("users_layers:product --arg f32[8,4]", "(users_layers.py:17)"),
        ("users_layers:product --arg f32[8,4]", "TypeError: dot_general requires contracting dimensions"),
        ("users_layers:leaves --arg f32[3]", "SystemExit: 7 (users_layers.py:"),
        ("users_layers:Layers.sine --arg i32[3]", "none of the arguments (x) is a float array"),
        ("users_layers:product --arg f32 --html none/x.html", "cannot write none/x.html: no such folder"),
        ("users_layers:product --arg f32 --json users_package", "cannot write users_package: it is a folder"),
        ("users_layers:product --arg f32 --seed -1", "a whole number from 0 to"),
        ("users_layers:product --arg f32 --rtol x", "a number from 0 on, such as 1e-3, got 'x'"),
        ("users_layers:product --arg f32 --reference users_layers:prod", "no function 'prod': did you mean product?"),
    ],
)
def test_misuse_is_told_in_words(folder, capsys, command, words):
    assert cli.main(["check", *command.split()]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert "Traceback" not in printed


def test_arguments_by_position_fill_what_is_not_named():
    def f(x, n, w, *rest, flag=False):
        return x, n, w, rest, flag

    assert arranged(f, "f", ["X", "W", "R"], {"n": 3, "flag": True}) == (("X", 3, "W", "R"), {"flag": True})
    assert arranged(lambda x, eps=1.0, n=2: None, "f", ["X"], {"n": 3}) == (("X",), {"n": 3})
    with pytest.raises(CallError, match="did you mean flag"):
        arranged(f, "f", ["X", "W"], {"n": 3, "flags": True})


def test_static_values_are_literals_of_python():
    assert read_static(["a=-1", "b=(2, 3)", "c=SAME", "d=None", "e=1e-5"]) == {
        "a": -1,
        "b": (2, 3),
        "c": "SAME",
        "d": None,
        "e": 1e-5,
    }
