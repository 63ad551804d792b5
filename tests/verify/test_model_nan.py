"""A NaN in a model is found where it enters: forwards, backwards, inside a rule, or with the data."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_probes import WEIGHTS, X, mlp, placed, right

from jbackprop.verify.model import compare_model

pytestmark = pytest.mark.usefixtures("float64")


def test_a_nan_forwards_is_found_at_the_primitive():
    report = compare_model(lambda p, x: right(jnp.log(right(x @ p["w1"])) @ p["w2"]).sum(), WEIGHTS, X)
    assert not report.ok
    assert re.fullmatch(
        r"a NaN enters forwards at log \(test_model_nan.py:\d+\), after layer 1: "
        r"its input is finite, its output is not",
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
        r"a NaN enters forwards at layer 2, log \(.*\), inside it at log \(test_model_nan.py:\d+\): ",
        report.findings[0],
    )


def test_a_nan_made_of_an_infinity_names_both():
    def loss(params, x):
        large = jnp.exp(1000 * jnp.abs(x @ params["w1"]))
        return (large - large).sum()

    (found,) = compare_model(loss, WEIGHTS, X).findings
    assert re.search(r"at sub \(.*\): an infinity goes in from exp \(test_model_nan.py:\d+\), a NaN comes out", found)


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
