"""The study of a step's limits: every product of the step is counted, and each side is timed."""

import jax
import jax.numpy as jnp
import pytest

from experiments import bench_limits
from experiments.products import multiply_adds, products_in, products_of
from jbackprop.bench.models import cnn_model, mlp_model, two_layer_model
from jbackprop.layers import label_part, softmax_cross_entropy
from jbackprop.layers.label_part import minus_at_label
from jbackprop.networks.cnn import Block, Sizes
from jbackprop.networks.deep import init, loss_and_grads

CNN = Sizes((6, 6, 1), (Block(2, 3, "SAME"),), (3,))


def test_a_product_in_a_scan_is_run_as_often_as_the_scan_turns():
    params, x, y = init(jax.random.key(0), (4,) * 6, jnp.float32), jnp.ones((3, 4)), jnp.ones(3)
    found = list(products_in(jax.make_jaxpr(loss_and_grads)(params, x, y).jaxpr))
    forward, *_ = (turns * multiply_adds(eqn) for eqn, turns in found)
    assert forward == 5 * 3 * 4 * 4


def test_each_branch_of_a_condition_is_counted():
    def either(p, x):
        return jax.lax.cond(p, lambda x: x @ x, lambda x: x @ x @ x, x)

    assert products_of(either, True, jnp.ones((2, 2))) == (1 + 2) * 2**3


@pytest.mark.parametrize(
    "model",
    [mlp_model((4, 5, 5, 3), 6), two_layer_model((4, 5, 3), 6), cnn_model(CNN, 4)],
    ids=lambda model: model.name,
)
def test_the_products_of_a_step_are_counted_and_no_other(model):
    _, program = bench_limits.stepped(model.loss_and_grads, model, None)
    assert sum(turns * multiply_adds(eqn) for eqn, turns in products_in(program)) == model.products(model.batch_size)


def test_a_row_has_the_time_of_each_side_and_labels_are_compared_in_one(monkeypatch):
    monkeypatch.setattr(bench_limits, "SECONDS", 0.0)
    seen = []

    def spied(p_dJ, dJ_n, index, dtype):
        seen.append(label_part.adds_at_label(p_dJ, dtype))
        return minus_at_label(p_dJ, dJ_n, index, dtype)

    monkeypatch.setattr(softmax_cross_entropy, "minus_at_label", spied)
    row = bench_limits.measured(mlp_model((4, 5, 3), 6), None)
    assert set(row["milliseconds"]) == {"autodiff", "explicit", "compared", "products"}
    assert set(seen) == {False, label_part.adds_at_label(jnp.ones((6, 3)), jnp.float32)}


def test_a_row_has_the_time_of_each_side(monkeypatch):
    monkeypatch.setattr(bench_limits, "SECONDS", 0.0)
    row = bench_limits.measured(cnn_model(CNN, 4), None)
    assert (row["model"], row["batch"], row["threaded"]) == ("cnn", 4, False)
    assert set(row["milliseconds"]) == {"autodiff", "explicit", "products"}
    assert all(taken > 0 for taken in row["milliseconds"].values())
