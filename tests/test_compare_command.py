"""`jbackprop compare`: a row for each gradient, and what is said where one is wrong."""

import jax
import pytest

from jbackprop import cli
from jbackprop.commands import compare
from jbackprop.verify.cases import RULES
from jbackprop.verify.network_cases import network_case


def test_compare_network_has_a_row_for_each_parameter(capsys):
    assert cli.main(["compare", "two_layer"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines() if "float32  " in line] == ["b1", "b2", "w1", "w2"]
    assert "agree: bounds" in printed


def test_compare_takes_the_plain_form_of_a_network(capsys):
    assert cli.main(["compare", "graph"]) == 0
    assert "graph_residual" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--reference"]])
def test_compare_rule_has_a_row_for_each_argument(capsys, options):
    assert cli.main(["compare", "sigmoid", *options]) == 0
    printed = capsys.readouterr().out
    assert "dz" in printed
    assert "checks of the contract ok" in printed


def test_compare_says_where_a_network_is_wrong(capsys):
    case = network_case("regression")

    def doubled(params, *batch):
        loss, grads = case.loss_and_grads(params, *batch)
        return loss, grads | {"b": 2 * grads["b"]}

    wrong = type(case)(**{**vars(case), "loss_and_grads": doubled})
    assert compare.compare_network(wrong, seed=0) == 1
    assert "WRONG" in capsys.readouterr().out


def test_compare_says_where_a_rule_is_wrong(capsys):
    (case,) = (case for case in RULES if case.name == "tanh")

    @jax.custom_vjp
    def wrong(z):
        return jax.numpy.tanh(z)

    wrong.defvjp(lambda z: (jax.numpy.tanh(z), z), lambda z, da: (da,))
    planted = type(case)(**{**vars(case), "function": wrong, "examples": case.examples[:1]})
    assert compare.compare_rule(planted, seed=0, reference=False) == 1
    assert "wrong" in capsys.readouterr().out


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999", "4294967296", "one"])
def test_compare_refuses_a_seed_that_is_none(capsys, seed):
    assert cli.main(["compare", "relu", "--seed", seed]) == 2
    assert "a whole number from 0 to 4294967295" in capsys.readouterr().err


def test_compare_names_the_reference(capsys):
    assert cli.main(["compare", "relu", "--reference"]) == 0
    printed = capsys.readouterr().out
    assert "compared with JAX's relu" in printed
    assert "compared with the registry's reference" in printed
    assert "lambda" not in printed


def test_a_network_has_no_other_reference(capsys):
    assert cli.main(["compare", "two_layer", "--reference"]) == 2
    assert "--reference is for rules" in capsys.readouterr().err
