"""A whole model: the wrong layer is named, and right models are left alone."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from model_probes import WEIGHTS, X, mlp, negated, placed, right

from jbackprop import relu
from jbackprop.verify.model import check_model, compare_model

pytestmark = pytest.mark.usefixtures("float64")


def narrow(tree, dtype=jnp.float32):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_wrong_rule_is_named_at_each_position(position):
    report = compare_model(partial(mlp, rules=placed(position, negated)), narrow(WEIGHTS), narrow(X))
    assert not report.ok
    (found,) = report.wrong
    assert re.fullmatch(rf"layer {position + 1}, negated \(model_probes.py:\d+\)", found)
    assert report.findings == (
        f"the cotangent parts from the automatic one in {found}: its cotangent of input 1: -1 x the right answer",
    )
    parted = [(layer.rows[0].chain_error_float64 or 0) > 1 for layer in report.layers]
    assert parted == [k < position for k in range(3)]
    assert [row.rules_ok for row in report.parameters] == [k > position for k in range(3)]


def test_two_mistakes_that_cancel_are_both_named():
    report = compare_model(partial(mlp, rules=(right, negated, negated)), WEIGHTS, X)
    assert [row.rules_ok for row in report.parameters] == [True, True, False]
    assert [name.split(" (")[0] for name in report.wrong] == ["layer 3, negated", "layer 2, negated"]
    assert report.findings[1].startswith("wrong by itself as well: layer 2, negated")


def test_rules_inside_jit_and_checkpoint_are_layers():
    rules = (jax.jit(right), jax.checkpoint(jax.jit(negated)), jax.vmap(right))
    report = compare_model(partial(mlp, rules=rules), WEIGHTS, X)
    assert [layer.name for layer in report.layers] == ["right", "negated", "right"]
    assert re.fullmatch(r"layer 2, negated \(model_probes.py:\d+\)", report.wrong[0])


def test_a_scan_with_rules_is_one_layer_and_the_rule_inside_is_named():
    def loss(params, x):
        stacked = jnp.stack(list(params.values()))
        x, _ = jax.lax.scan(lambda x, w: (right(negated(x @ w)), None), x, stacked)
        return x.sum()

    report = compare_model(loss, WEIGHTS, X)
    (found,) = report.wrong
    assert found.startswith("layer 1, scan of 3: negated, right (test_model.py:")
    assert report.findings[0].endswith("; inside it negated, at random inputs, has a wrong cotangent")


def test_a_cond_with_rules_is_one_layer():
    def loss(params, x):
        return jax.lax.cond(x.sum() > 1e3, right, negated, x @ params["w1"]).sum()

    report = compare_model(loss, WEIGHTS, X)
    assert [layer.name for layer in report.layers] == ["cond: negated, right"]
    assert ": -1 x the right answer; inside it negated" in report.findings[0]


def test_a_cast_to_bfloat16_inside_a_rule_does_not_loosen_the_bounds():
    coarse = jax.custom_vjp(jnp.tanh)
    coarse.defvjp(
        lambda z: (jnp.tanh(z), jnp.tanh(z)),
        lambda a, da: ((da * (1 - a * a)).astype(jnp.bfloat16).astype(da.dtype),),
    )
    report = compare_model(partial(mlp, rules=placed(1, coarse)), narrow(WEIGHTS), narrow(X))
    assert not report.ok


def test_bfloat16_is_judged_by_its_own_precision():
    assert check_model(mlp, narrow(WEIGHTS, jnp.bfloat16), narrow(X, jnp.bfloat16)).ok


def test_a_value_that_fwd_changes_is_told_from_a_wrong_cotangent():
    @jax.custom_vjp
    def shifted(z):
        return jnp.tanh(z)

    shifted.defvjp(lambda z: (jnp.tanh(z) + 1, jnp.tanh(z)), lambda a, da: (da * (1 - a * a),))
    report = compare_model(partial(mlp, rules=placed(1, shifted)), WEIGHTS, X)
    assert re.match(r"layer 2, shifted \(.*\) has another value under differentiation: fwd's", report.findings[0])
    assert report.wrong[0].startswith("layer 2, shifted")


def test_a_rule_that_does_not_run_is_a_finding():
    @jax.custom_vjp
    def broken(z):
        return jnp.tanh(z)

    broken.defvjp(lambda z: (jnp.tanh(z), z), lambda z, da: (da, da))
    report = compare_model(partial(mlp, rules=placed(1, broken)), WEIGHTS, X)
    assert re.match(r"the rule of layer 2, broken \(.*\) does not run: ", report.findings[0])
    assert [layer.ok for layer in report.layers] == [True, False, True]


def test_only_cotangents_that_reach_a_parameter_count():
    @jax.custom_vjp
    def distance(prediction, target):
        return ((prediction - target) ** 2).sum()

    def fwd(prediction, target):
        return ((prediction - target) ** 2).sum(), prediction - target

    distance.defvjp(fwd, lambda difference, d: (2 * d * difference, None))  # None: the target is data

    assert check_model(lambda p, x: distance(x @ p["w1"], x), WEIGHTS, X).ok
    report = compare_model(lambda p, x: distance(jax.lax.stop_gradient(x), x @ p["w1"]), WEIGHTS, X)
    assert report.findings[0].endswith("its cotangent of input 2: zero")


def test_another_subgradient_at_a_kink_is_right():
    def loss(params, x):
        return right(relu(x @ params["w1"], 1.0) @ params["w2"]).sum()

    x = X.copy()
    x[0] = 0
    report = check_model(loss, WEIGHTS, x)
    assert any("at a kink or tie only" in note for note in report.notes)


def test_a_cotangent_of_zeros_is_called_out():
    report = compare_model(lambda p, x: (0 * right(x @ p["w1"])).sum(), WEIGHTS, X)
    assert report.ok
    assert "is given a cotangent of zeros" in report.notes[0]
