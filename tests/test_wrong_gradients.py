"""The study of wrong gradients that train: its rules fit their places, and its table is that of its results."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.readme_tables import RESULTS
from experiments.wrong_gradients_networks import NETWORKS, PARTS
from experiments.wrong_gradients_shown import plot
from experiments.wrong_gradients_train import SLIPS, Images, planted, trained


@pytest.fixture(scope="module")
def results():
    return json.loads((RESULTS / "wrong_gradients_train.json").read_text())


def images(side: int) -> Images:
    x = jax.random.uniform(jax.random.key(0), (100, side, side, 1))
    labels = jnp.arange(100, dtype=jnp.int32) % 10
    return Images(x, labels, x, labels)


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: f"{slip.network}: {slip.rule}")
def test_each_wrong_rule_fits_its_place(slip):
    network, given = NETWORKS[slip.network], images(28 if slip.network == "cs229" else 8)

    def grads(parts):
        params = jax.eval_shape(network.init, jax.random.key(0))
        return jax.make_jaxpr(jax.grad(lambda p: network.loss(p, given.x, given.labels, parts)[0]))(params)

    right, wrong = grads(PARTS), grads(planted(slip))
    assert [aval.shape for aval in wrong.out_avals] == [aval.shape for aval in right.out_avals]
    assert str(wrong) != str(right)


def test_the_wrong_bias_gradient_is_trained_with_and_the_unused_mistake_is_not_seen():
    network = NETWORKS["dense"]._replace(epochs=1, learning_rate=2.0)
    bias, cotangent = (next(s for s in SLIPS if words in s.rule) for words in ("one number", "first one's cotangent"))
    right, wrong, unseen = (
        trained(network, parts, images(8), 2) for parts in (PARTS, planted(bias), planted(cotangent))
    )
    assert right.shape == wrong.shape == (2, 1)
    assert (right != wrong).any()
    np.testing.assert_array_equal(right, unseen)


def test_the_results_are_of_these_rules_and_all_are_caught(results):
    for name, block in results.items():
        right, *wrong = block["rows"]
        assert right["rule"] is None
        assert [row["rule"] for row in wrong] == [slip.rule for slip in SLIPS if slip.network == name]
        assert all(row["caught"] and row["right_one_accepted"] for row in wrong)


def test_the_plot_has_a_row_for_each_rule(results):
    axes = plot(results).axes
    assert [len(each.get_yticks()) for each in axes] == [len(block["rows"]) for block in results.values()]
