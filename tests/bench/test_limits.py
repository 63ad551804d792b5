"""The study of a step's limits: every product of the step is counted, and each side is timed."""

import jax
import jax.numpy as jnp
import pytest

from experiments import bench_limits
from jbackprop.bench.models import cnn_model, mlp_model, two_layer_model
from jbackprop.bench.products import multiply_adds, products_in
from jbackprop.networks.cnn import Block, Sizes
from jbackprop.networks.deep import init, loss_and_grads

CNN = Sizes((6, 6, 1), (Block(2, 3, "SAME"),), (3,))


def test_a_product_in_a_scan_is_run_as_often_as_the_scan_turns():
    params, x, y = init(jax.random.key(0), (4,) * 6, jnp.float32), jnp.ones((3, 4)), jnp.ones(3)
    found = list(products_in(jax.make_jaxpr(loss_and_grads)(params, x, y).jaxpr))
    forward, *_ = (turns * multiply_adds(eqn) for eqn, turns in found)
    assert forward == 5 * 3 * 4 * 4


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
    monkeypatch.setattr(bench_limits.COST, "scatters", lambda like: seen.append(bench_limits.COST.MOST_SCATTERED))
    row = bench_limits.measured(mlp_model((4, 5, 3), 6), None)
    assert set(row["milliseconds"]) == {"autodiff", "explicit", "compared", "products"}
    assert -1 in seen
    assert bench_limits.COST.MOST_SCATTERED in seen
    assert bench_limits.COST.MOST_SCATTERED > 0


def test_a_row_has_the_time_of_each_side(monkeypatch):
    monkeypatch.setattr(bench_limits, "SECONDS", 0.0)
    row = bench_limits.measured(cnn_model(CNN, 4), None)
    assert (row["model"], row["batch"], row["threaded"]) == ("cnn", 4, False)
    assert set(row["milliseconds"]) == {"autodiff", "explicit", "products"}
    assert all(taken > 0 for taken in row["milliseconds"].values())
