"""What is measured against each other computes the same, and the products are those that the programs contain."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.products import products_of
from jbackprop.bench import contests, models, plain
from jbackprop.bench.contest import LARGE_RATE, Contest, largest_difference, measure
from jbackprop.bench.machine import Limits
from jbackprop.layers.avg_pool import avg_pool
from jbackprop.networks.cnn import Block, Sizes
from jbackprop.verify import benchmarks
from jbackprop.verify.cases import RULES
from jbackprop.verify.network_cases import network_case

MACHINE = Limits(1e9, 1e9)
SMALL_CNN = Sizes((8, 8, 1), (Block(4, 3, "SAME"), Block(6, 3, "SAME")), (10, 5))
MODELS = {
    "two_layer": models.two_layer_model((12, 8, 5), 16),
    "mlp": models.mlp_model((12, 8, 8, 5), 16),
    "cnn": models.cnn_model(SMALL_CNN, 4),
    "deep": models.deep_model(layers=3, width=6, batch_size=5),
}


def sliced(arguments):
    """Two examples of many: of the first argument, of targets in its shape, of labels."""
    first = arguments[0]
    return tuple(a[:2] if a.shape == first.shape or jnp.issubdtype(a.dtype, jnp.integer) else a for a in arguments)


def both(f):
    def run(floats, rest, ct):
        value, pullback = jax.vjp(lambda *floats: f(*floats, *rest), *floats)
        return value, pullback(ct.astype(value.dtype))

    return jax.jit(run)


@pytest.mark.parametrize("case", RULES, ids=lambda case: case.name)
def test_every_rule_is_measured_against_code_that_computes_the_same(case):
    of_small = [row for row in case.benchmarks if row.size == "small"]
    assert of_small
    for row in {str(row.options): row for row in of_small}.values():
        arguments = sliced(row.arguments(jax.random.key(0), jnp.float32))
        floats = tuple(a for a in arguments if jnp.issubdtype(a.dtype, jnp.floating))
        rest = arguments[len(floats) :]
        shape = jax.eval_shape(row.reference, *arguments).shape
        ct = jnp.asarray(np.random.default_rng(1).standard_normal(shape), jnp.float32)
        ours, reference = (both(f)(floats, rest, ct) for f in (partial(case.function, **row.options), row.reference))
        assert largest_difference(ours, reference) < 1e-4, row.label


def test_every_size_has_its_own_rows():
    for case in RULES:
        labels = [row.label for row in case.benchmarks]
        assert len(labels) == len(set(labels)), case.name
        assert {row.size for row in case.benchmarks} == {"small", "medium", "large"}


def test_the_written_out_references_are_those_of_optax_and_the_mean():
    logits, labels = jnp.asarray(np.random.default_rng(0).standard_normal((6, 5)), jnp.float32), jnp.arange(6) % 5
    wanted = jax.jit(optax.softmax_cross_entropy_with_integer_labels)(logits, labels).mean()
    assert jax.jit(benchmarks.cross_entropy_of_optax)(logits, labels) == pytest.approx(float(wanted), rel=1e-6)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 7, 7, 3)), jnp.float32)
    for window, stride in ((2, None), (3, 2)):
        got = jax.jit(benchmarks.average_of_flax(window, stride))(x)
        wanted = jax.jit(partial(avg_pool, window=window, stride=stride))(x)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def moved(step, contest: Contest, as_side):
    params, x, y, rate = contest.arguments()
    return jax.jit(step)(as_side(params), x, y, jnp.full_like(rate, LARGE_RATE))


@pytest.mark.parametrize("name", MODELS)
def test_the_steps_of_a_network_do_the_same(name):
    explicit, rules, *others = contests.of_model(MODELS[name], "small", jnp.float32)
    wanted = moved(explicit.reference, explicit, explicit.as_reference)
    for contest in (explicit, rules):
        assert contest.name == name
        assert largest_difference(moved(contest.ours, contest, contest.as_ours), wanted) < 1e-5
    for contest in others:  # of `deep`, over a list of matrices
        for step, as_side in ((contest.reference, contest.as_reference), (contest.ours, contest.as_ours)):
            loss, new = moved(step, contest, as_side)
            of_list = new if isinstance(new["layers"], list) else contests.unstacked(new)
            assert largest_difference((loss, of_list), (wanted[0], contests.unstacked(wanted[1]))) < 1e-5


def test_the_convolutions_in_a_scan_do_the_same():
    contest = contests.convolutions_in_scan(jnp.float32, images=2, steps=2, channels=(2, 3))
    ours, reference = (moved(step, contest, lambda params: params) for step in (contest.ours, contest.reference))
    assert largest_difference(ours, reference) < 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_the_products_of_a_step_are_those_that_autodiff_forms(name):
    model = MODELS[name]
    params, batch = model.init(jax.random.key(0), jnp.float32), model.batch(model.batch_size, jnp.float32)
    loss = plain.deep_in_loop if name == "deep" else model.plain  # in a scan the first layer's dx is formed as well
    assert products_of(jax.grad(loss), params, *batch) == model.products(model.batch_size)


@pytest.mark.parametrize("name", ["linear", "conv2d"])
def test_the_products_of_a_rule_are_those_of_its_reference(name):
    (case,) = (case for case in RULES if case.name == name)
    for row in case.benchmarks:
        if row.size == "small":
            arguments = row.arguments(jax.random.key(0), jnp.float32)
            assert products_of(row.reference, *arguments) == row.products, row.label


@pytest.fixture(scope="module")
def row():
    def arguments():
        rng = np.random.default_rng(0)
        return tuple(jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((64, 32), (32, 16)))

    contest = Contest("product", "64x32x16", "x @ w", jnp.matmul, lambda x, w: x @ w, arguments, products=64 * 32 * 16)
    return measure(contest, "float32", 0.0, MACHINE)


def test_a_row_has_every_figure(row):
    assert set(row["passes"]) == {"forward", "backward", "both"}
    for timed in row["passes"].values():
        assert timed["ratio"]["low"] <= timed["ratio"]["median"] <= timed["ratio"]["high"]
        assert timed["pairs"] >= 5
    assert row["residual_bytes"] == {"ours": 4 * (64 * 32 + 32 * 16), "reference": 4 * (64 * 32 + 32 * 16)}
    assert row["formula"]["flops"] == 3 * 2 * 64 * 32 * 16
    assert row["flops"]["ours"] == pytest.approx(row["formula"]["flops"], rel=0.03)
    assert row["difference"] == 0.0
    assert row["agree"]


def test_the_share_of_the_limit_is_the_shortest_time_over_the_measured_one(row):
    seconds = max(row["formula"]["flops"] / MACHINE.flops, row["formula"]["bytes"] / MACHINE.bandwidth)
    for side in ("ours", "reference"):
        measured = row["passes"]["both"]["milliseconds"][side] / 1e3
        assert row["share_of_limit"][side] == pytest.approx(seconds / measured)


def test_programs_that_do_not_compute_the_same_are_noticed():
    contest = Contest("wrong", "", "", lambda x: 2 * x, lambda x: 3 * x, lambda: (jnp.ones(4),))
    found = measure(contest, "float32", 0.0, MACHINE)
    assert not found["agree"]
    assert found["difference"] == pytest.approx(1 / 3)


def test_a_network_without_sizes_of_its_own_is_measured_on_the_registrys_example():
    (contest,) = contests.of_network(network_case("regression"), "small", jnp.float32)
    found = measure(contest, "float32", 0.0, MACHINE)
    assert found["agree"]
    assert set(found["passes"]) == {"step"}


@pytest.mark.parametrize(
    ("ours", "reference", "wanted"),
    [
        ([1.0, 2.0], [1.0, 4.0], 0.5),
        ([1.0, math.nan], [1.0, math.nan], 0.0),
        ([1.0, math.nan], [1.0, 2.0], math.inf),
        ([[1.0]], [1.0], math.inf),
        ([], [], 0.0),
        ([0.0], [0.0], 0.0),
    ],
)
def test_the_largest_difference(ours, reference, wanted):
    assert largest_difference(jnp.array(ours), jnp.array(reference)) == wanted
