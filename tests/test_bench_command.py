"""`jbackprop bench`: names, functions of the user's own, files, words and exit codes. No time is looked at."""

import json
import sys

import pytest

from jbackprop import cli
from jbackprop.bench import machine, models, peers
from jbackprop.bench.contests import MEASURED

LAYERS = """
import jax
import jax.numpy as jnp

@jax.custom_vjp
def scale(x, w):
    return jnp.tanh(x) * w

def scale_bwd(residuals, dy):
    t, w = residuals
    return (1 - t**2) * dy * w, (dy * t).sum(0)

scale.defvjp(lambda x, w: (jnp.tanh(x) * w, (jnp.tanh(x), w)), scale_bwd)

@jax.custom_vjp
def wrong(x):
    return jnp.sin(x)

wrong.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (dy * jnp.sin(x),))

def total(x):
    return x.sum()

@jax.custom_vjp
def unknown(x):
    return jnp.sin(x)

unknown.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (dy * jnp.nan,))

def power(x, n):
    return x ** n

def breaks(x):
    raise ValueError("of no use")

def sign(x):
    return x > 0

def count(n):
    return n + 1

pair = (scale, scale_bwd)
"""
QUICK = ["--seconds", "0"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "users_rules.py").write_text(LAYERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(machine, "MATRIX", {"cpu": 32})
    monkeypatch.setattr(machine, "COPIED", {"cpu": 4096})
    yield tmp_path
    sys.modules.pop("users_rules", None)


def test_a_rule_is_measured_and_kept(folder, capsys):
    assert cli.main(["bench", "identity", *QUICK, "--json", "kept.json", "--html", "page.html"]) == 0
    printed = capsys.readouterr().out
    assert "identity 2048x1024" in printed
    assert "Matrix product" in printed
    kept = json.loads((folder / "kept.json").read_text())
    assert kept["command"].startswith("jbackprop bench identity")
    assert {"date", "device", "versions", "flags", "limits"} <= set(kept)
    (row,) = kept["rows"]
    assert (row["name"], row["dtype"], row["agree"]) == ("identity", "float32", True)
    assert "identity 2048x1024" in (folder / "page.html").read_text()


def test_networks_are_measured_by_step(folder, monkeypatch, capsys):
    monkeypatch.setitem(MEASURED, "mlp", lambda: models.mlp_model((12, 8, 5), 16))
    assert cli.main(["bench", "mlp", *QUICK, "--dtype", "bfloat16"]) == 0
    printed = capsys.readouterr().out
    assert "mlp 12-8-5, batch 16, explicit" in printed
    assert "mlp 12-8-5, batch 16, rules" in printed


def test_a_function_of_the_users_is_measured_against_its_own_primal(folder, capsys):
    arguments = ["users_rules:scale", "--arg", "f32[16,8]", "--arg", "f32[8]"]
    assert cli.main(["bench", *arguments, *QUICK, "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)
    (row,) = kept["rows"]
    assert row["name"] == "scale"
    assert row["against"] == "autodiff of its own primal"
    assert row["residual_bytes"]["ours"] == 4 * (16 * 8 + 8)
    assert row["formula"]["bytes"] == 4 * 2 * (16 * 8 + 8 + 16 * 8)


@pytest.mark.slow
def test_static_options_and_a_reference_of_the_users(folder, capsys):
    options = ["--arg", "f32[16]", "--static", "n=3", "--reference", "users_rules:power"]
    assert cli.main(["bench", "users_rules:power", *options, *QUICK]) == 0
    assert "power f32[16] n=3" in capsys.readouterr().out


@pytest.mark.slow
def test_double_precision_is_measured_in_double_precision(folder, capsys):
    assert cli.main(["bench", "users_rules:power", "--arg", "f64[16]", "--static", "n=2", *QUICK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dtype"] == "float64"


def test_a_rule_that_computes_another_gradient_is_no_comparison(folder, capsys):
    assert cli.main(["bench", "users_rules:wrong", "--arg", "f32[16]", *QUICK]) == 1
    assert "DIFFERS" in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--reference", "users_rules:total"], []], ids=["another shape", "NaN"])
def test_another_shape_or_a_nan_differs_by_no_number(folder, capsys, options):
    command = ["bench", "users_rules:unknown", "--arg", "f32[4]", *options, *QUICK, "--json", "kept.json"]
    assert cli.main(command) == 1
    assert "DIFFERS " in capsys.readouterr().out
    (row,) = json.loads((folder / "kept.json").read_text())["rows"]
    assert (row["agree"], row["difference"]) == (False, None)


@pytest.mark.slow
def test_json_alone_before_the_name(folder, capsys):
    assert cli.main(["bench", *QUICK, "--json", "identity"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]


def test_peers_train_the_same_model(folder, monkeypatch, capsys):
    monkeypatch.setattr(peers, "MODELS", {"mlp": lambda: models.mlp_model((12, 8, 5), 16)})
    from jbackprop.bench import session

    for others in ("flax_peers", "equinox_peers", "torch_peers"):
        monkeypatch.setattr(session, others, dict)
    assert cli.main(["bench", "--peers", *QUICK]) == 0
    printed = capsys.readouterr().out
    assert "jbackprop, explicit, epoch in a scan" in printed
    assert "one step a call: jbackprop" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["maxpool"], "no rule or network is called 'maxpool': did you mean max_pool"),
        (["users_rules:scal"], "users_rules has no function 'scal': did you mean scale"),
        (["users_rules:scale", "--arg", "f32[3"], "--arg cannot be read: no ] closes this ["),
        (["users_rules:scale", "--arg", "f32[3]"], "scale(x, w): w missing"),
        (["users_rules:power", "--arg", "x=f32[3]", "--static", "x=1"], "x is given by --arg and by --static"),
        (["users_rules:breaks", "--arg", "f32[3]"], "ValueError: of no use (users_rules.py:"),
        (["users_rules:count", "--arg", "i32[3]"], "give an array of floats to differentiate by"),
        (["users_rules:sign", "--arg", "f32[3]"], "jbackprop bench: no output is a floating array"),
        (["users_rules:pair", "--arg", "f32[3]"], "users_rules:pair is a pair of passes"),
        (["users_rules:scale", "relu"], "users_rules:scale is a function of yours: measure it alone"),
        (["users_rules:scale", "--dtype", "float32"], "--arg says those of users_rules:scale"),
        (["relu", "--arg", "f32[3]"], "--arg, --static and --reference go with a function of yours"),
        (["linear", "--peers"], "--peers trains two_layer, mlp, cnn, not linear"),
        (["relu", "--json", "no/such/folder.json"], "cannot write no/such/folder.json: no such folder"),
        (["relu", "--html", "."], "cannot write .: it is a folder"),
        (["relu", "--seconds", "-1"], "a number from 0 on"),
        (["relu", "--size", "huge"], "invalid choice: 'huge'"),
        (["relu", "--dtype", "int8"], "invalid choice: 'int8'"),
    ],
)
def test_misuse_is_said_in_words(folder, capsys, arguments, words):
    assert cli.main(["bench", *arguments, *QUICK]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
