"""A backward pass by hand is compared with the model, and what is no model or no gradient of it is refused."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_probes import WEIGHTS, X, mlp

from jbackprop.verify.model import check_model, compare_model
from jbackprop.verify.model_report import ModelError
from jbackprop.verify.network_cases import network_case

pytestmark = pytest.mark.usefixtures("float64")


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


@pytest.mark.parametrize("name", ["regression_sigmoid", "deep", "graph_diamond"])
def test_the_networks_are_right(name):
    case = network_case(name)
    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda: (case.params(key, jnp.float32), case.batch(key, jnp.float32)))
    rng = np.random.default_rng(0)
    params, batch = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape).astype(leaf.dtype), shapes)
    report = check_model(case.loss, params, *batch, explicit=case.loss_and_grads)
    assert len(report.parameters) == len(jax.tree.leaves(params))
    assert report.layers


@pytest.mark.parametrize(
    ("loss", "params", "explicit", "words"),
    [
        (lambda p, x: x @ p["w1"], WEIGHTS, None, r"returns float64\[4, 3\], not a scalar loss: take the mean"),
        (lambda p, x: (mlp(p, x), x), WEIGHTS, None, r"returns 2 arrays .*, not a scalar loss: return the loss alone"),
        (mlp, {"n": 3}, None, r"the parameters have no float array to differentiate \(n\)"),
        (mlp, {}, None, r"no float array to differentiate \(no leaves at all\)"),
        (mlp, WEIGHTS, lambda p, x: {"w1": p["w1"]}, "the explicit gradients lack w2, w3: the parameters are w1"),
        (mlp, WEIGHTS, lambda p, x: {**p, "v": x}, "the explicit gradients have v besides"),
        (mlp, WEIGHTS, lambda p, x: {**p, "w2": x}, r"gradient of w2 is float64\[4, 3\], not float64\[3, 3\]"),
    ],
)  # fmt: skip
def test_misuse_is_named(loss, params, explicit, words):
    with pytest.raises(ValueError, match=f"check_model: .*{words}"):
        check_model(loss, params, X, explicit=explicit)


def test_traced_values_are_refused():
    with pytest.raises(TypeError, match=r"check_model looks at numbers: call it outside of jax.jit"):
        jax.jit(lambda x: check_model(mlp, WEIGHTS, x).ok)(X)
