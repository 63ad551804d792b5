"""A whole model: the wrong layer named, the NaN found where it enters, right models left alone."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop import relu
from jbackprop.verify.model import check_model, compare_model
from jbackprop.verify.model_report import ModelError
from jbackprop.verify.network_cases import network_case

GENERATOR = np.random.default_rng(0)
WEIGHTS = {f"w{i}": GENERATOR.standard_normal((3, 3)) for i in (1, 2, 3)}
X = GENERATOR.standard_normal((4, 3))


@pytest.fixture(autouse=True)
def float64():
    """One compilation instead of two wherever a test does not ask for float32 itself."""
    with jax.enable_x64(True):
        yield


def narrow(tree, dtype=jnp.float32):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


@jax.custom_vjp
def right(z):
    return jnp.tanh(z)


right.defvjp(lambda z: (jnp.tanh(z), jnp.tanh(z)), lambda a, da: (da * (1 - a * a),))


@jax.custom_vjp
def negated(z):
    return jnp.tanh(z)


negated.defvjp(lambda z: (jnp.tanh(z), jnp.tanh(z)), lambda a, da: (-da * (1 - a * a),))


def mlp(params, x, rules=(right, right, right)):
    for rule, w in zip(rules, params.values(), strict=True):
        x = rule(x @ w)
    return (x * x).mean()


def placed(position, rule):
    return [rule if i == position else right for i in range(3)]


def explicit_mlp(params, x, wrong="", also_below=True):
    """A backward pass of `mlp` by hand, with the gradient of one weight, and the cotangent it came from, wrong."""
    activations = [x]
    for w in params.values():
        activations.append(jnp.tanh(activations[-1] @ w))
    da, grads = 2 * activations[-1] / activations[-1].size, {}
    for name, a, x in zip(reversed(params), activations[:0:-1], activations[-2::-1], strict=True):
        dz = da * (1 - a * a)
        spoilt = 2 * dz if name == wrong else dz
        grads[name] = x.T @ spoilt
        da = (spoilt if also_below else dz) @ params[name].T
    return grads


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_wrong_rule_is_named_at_each_position(position):
    report = compare_model(partial(mlp, rules=placed(position, negated)), narrow(WEIGHTS), narrow(X))
    assert not report.ok
    (found,) = report.wrong
    assert re.fullmatch(rf"layer {position + 1}, negated \(test_model.py:\d+\)", found)
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
    assert re.fullmatch(r"layer 2, negated \(test_model.py:\d+\)", report.wrong[0])


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


@pytest.mark.parametrize("name", ["regression_sigmoid", "deep", "graph_diamond"])
def test_the_networks_are_right(name):
    case = network_case(name)
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: (case.params(key, jnp.float32), case.batch(key, jnp.float32)))
    params, batch = jax.tree.map(lambda leaf: GENERATOR.standard_normal(leaf.shape).astype(leaf.dtype), shapes)
    report = check_model(case.loss, params, *batch, explicit=case.loss_and_grads)
    assert len(report.parameters) == len(jax.tree.leaves(params))
    assert report.layers


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


def test_a_nan_forwards_is_found_at_the_primitive():
    report = compare_model(lambda p, x: right(jnp.log(right(x @ p["w1"])) @ p["w2"]).sum(), WEIGHTS, X)
    assert not report.ok
    assert re.fullmatch(
        r"a NaN enters forwards at log \(test_model.py:\d+\), after layer 1: its input is finite, its output is not",
        report.findings[0],
    )
    assert report.wrong == ()


def test_a_nan_forwards_is_found_inside_a_rule():
    @jax.custom_vjp
    def log(z):
        return jnp.log(z)

    log.defvjp(lambda z: (jnp.log(z), z), lambda z, da: (da / z,))
    report = compare_model(partial(mlp, rules=placed(1, log)), WEIGHTS, X)
    assert re.match(
        r"a NaN enters forwards at layer 2, log \(.*\), inside it at log \(test_model.py:\d+\): ", report.findings[0]
    )


def test_a_nan_made_of_an_infinity_names_both():
    def loss(params, x):
        large = jnp.exp(1000 * jnp.abs(x @ params["w1"]))
        return (large - large).sum()

    (found,) = compare_model(loss, WEIGHTS, X).findings
    assert re.search(r"at sub \(.*\): an infinity goes in from exp \(test_model.py:\d+\), a NaN comes out", found)


def test_a_nan_in_the_data_is_called_so():
    x = X.copy()
    x[1, 2] = np.nan
    (found,) = compare_model(mlp, WEIGHTS, x).findings
    assert found == "a NaN enters with the data: x has 1 among its 12 elements"
    weights = WEIGHTS | {"w2": np.full((3, 3), np.inf)}
    assert "w2 has 9 among its 9 elements" in compare_model(lambda p: p["w2"].sum(), weights).findings[0]


def test_a_nan_only_backwards_is_found():
    def loss(params, x):
        z = x @ params["w1"]
        return right(jnp.sqrt(z * z) @ params["w2"]).sum()

    x = X.copy()
    x[0] = 0
    (found,) = compare_model(loss, WEIGHTS, x).findings
    assert re.fullmatch(
        r"a NaN enters backwards at mul \(.*\), before layer 1: "
        r"an infinity arrives from sqrt \(.*\), before layer 1, a NaN goes on",
        found,
    )


def test_a_nan_that_a_rule_makes_backwards_is_found():
    @jax.custom_vjp
    def scaled(z):
        return 2 * z

    scaled.defvjp(lambda z: (2 * z, z), lambda z, da: (2 * da * z / z,))
    x = X.copy()
    x[0] = 0
    report = compare_model(lambda p, x: scaled(x @ p["w1"]).sum(), WEIGHTS, x)
    assert re.fullmatch(
        r"a NaN enters backwards at layer 1, scaled \(.*\): "
        r"the cotangent of its output is finite, that of its input is not",
        report.findings[0],
    )
    assert report.wrong[0].startswith("layer 1, scaled")


@pytest.mark.parametrize(
    ("wrong", "also_below", "sentence"),
    [
        ("w2", True, "explicit: w3 agrees, w2 and w1 do not: the mistake lies between them"),
        ("w3", True, "explicit: no parameter agrees: the mistake lies at the loss or in the last layer"),
        ("w2", False, "explicit: w3 and w1 agree, w2 does not: the cotangents arrive right, "
         "the mistake lies in the gradient of w2"),
    ],
)  # fmt: skip
def test_a_wrong_explicit_gradient_is_placed(wrong, also_below, sentence):
    explicit = partial(explicit_mlp, wrong=wrong, also_below=also_below)
    with pytest.raises(ModelError, match="wrong: explicit") as raised:
        check_model(mlp, WEIGHTS, X, explicit=explicit)
    assert raised.value.report.findings == (sentence,)


def test_a_wrong_explicit_loss_is_found():
    report = compare_model(mlp, WEIGHTS, X, explicit=lambda p, x: (2 * mlp(p, x), explicit_mlp(p, x)))
    assert report.findings == ("explicit: its loss is not the model's: formula error 1.0 of max|g|",)


def test_an_explicit_gradient_in_numpy_is_compared():
    def explicit(params, x):
        return jax.tree.map(np.asarray, explicit_mlp(params, np.asarray(x)))

    assert check_model(mlp, WEIGHTS, X, explicit=explicit).ok


def test_a_cotangent_of_zeros_is_called_out():
    report = compare_model(lambda p, x: (0 * right(x @ p["w1"])).sum(), WEIGHTS, X)
    assert report.ok
    assert "is given a cotangent of zeros" in report.notes[0]


@pytest.mark.parametrize(
    ("loss", "params", "explicit", "words"),
    [
        (lambda p, x: x @ p["w1"], WEIGHTS, None, r"returns float64\[4, 3\], not a scalar loss: take the mean"),
        (lambda p, x: (mlp(p, x), x), WEIGHTS, None, r"returns 2 arrays .*, not a scalar loss: return the loss alone"),
        (mlp, {"n": 3}, None, r"the parameters have no float array to differentiate \(n\)"),
        (mlp, {}, None, r"no float array to differentiate \(no leaves at all\)"),
        (mlp, WEIGHTS, lambda p, x: {"w1": p["w1"]}, "the explicit gradients misses w2, w3: the parameters are w1"),
        (mlp, WEIGHTS, lambda p, x: {**p, "v": x}, "the explicit gradients has v besides"),
        (mlp, WEIGHTS, lambda p, x: {**p, "w2": x}, r"gradient of w2 is float64\[4, 3\], not float64\[3, 3\]"),
    ],
)  # fmt: skip
def test_misuse_is_named(loss, params, explicit, words):
    with pytest.raises(ValueError, match=f"check_model: .*{words}"):
        check_model(loss, params, X, explicit=explicit)


def test_traced_values_are_refused():
    with pytest.raises(TypeError, match=r"check_model looks at numbers: call it outside of jax.jit"):
        jax.jit(lambda x: check_model(mlp, WEIGHTS, x).ok)(X)
