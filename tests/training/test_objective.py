"""What is minimised: penalties, costs, precision and accumulated gradients, for each of the three gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.training import objective, trainer
from jbackprop.training.config import L2, Config, Network
from jbackprop.training.gradient import NAMES, loss_and_grads

NETWORKS = {
    "two_layer": Network(hidden=(6,), weights="normal"),
    "mlp": Network(name="mlp", hidden=(6,), activation="sigmoid", cost="quadratic", biases="normal"),
    "cnn": Network(name="cnn", hidden=(), channels=(3,), padding=("VALID",), cost="sigmoid_cross_entropy"),
}
PENALTIES = {"cs229": L2(form="cs229", strength=0.02), "nielsen": L2(form="nielsen", strength=7.0)}


def configured(network: str, **fields) -> Config:
    return Config(network=NETWORKS[network], batch_size=12, **fields)


def batch(model, small):
    rows = slice(0, 12)
    return model.prepare(small.train.images[rows]), small.train.labels[rows]


def by_hand(network: str, penalty: str, small):
    """The loss as its authors write it, in plain JAX."""
    n = small.train.labels.size

    def cost(z, y):
        t = jax.nn.one_hot(y, 10, dtype=jnp.float32)
        if network == "two_layer":
            return -(t * jax.nn.log_softmax(z)).sum(1)
        if network == "mlp":
            return 0.5 * ((jax.nn.sigmoid(z) - t) ** 2).sum(1)
        return -(t * jax.nn.log_sigmoid(z) + (1 - t) * jax.nn.log_sigmoid(-z)).sum(1)

    def logits(params, x):
        if network == "two_layer":
            return jax.nn.sigmoid(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
        if network == "mlp":
            return jax.nn.sigmoid(x @ params[0]["w"] + params[0]["b"]) @ params[1]["w"] + params[1]["b"]
        conv, dense = params["conv"][0], params["dense"][0]
        z = jax.lax.conv_general_dilated(x, conv["w"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        a = jax.nn.relu(z + conv["b"]).reshape(len(x), 3, 2, 3, 2, 3).max((2, 4))
        return a.reshape(len(x), -1) @ dense["w"] + dense["b"]

    def loss(params, x, y):
        squares = sum((w**2).sum() for w in jax.tree.leaves(params) if w.ndim > 1)
        weight = {"cs229": 0.02, "nielsen": 7.0 / (2 * n)}[penalty]
        return cost(logits(params, x), y).mean() + weight * squares

    return loss


@pytest.mark.parametrize(
    ("network", "penalty"), [("two_layer", "cs229"), ("two_layer", "nielsen"), ("mlp", "nielsen"), ("cnn", "cs229")]
)
def test_each_gradient_is_that_of_the_loss_written_by_hand(network, penalty, small):
    model = objective.of_run(configured(network, l2=PENALTIES[penalty]), small)
    params, (x, y) = model.init(jax.random.key(0)), batch(model, small)
    found = jax.jit(lambda params: [loss_and_grads(name, model, 3)(params, x, y) for name in NAMES])(params)
    loss, wanted = jax.jit(jax.value_and_grad(by_hand(network, penalty, small)))(params, x, y)
    for name, (found_loss, grads) in zip(NAMES, found, strict=True):
        np.testing.assert_allclose(found_loss, loss, rtol=2e-6, err_msg=name)
        for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, atol=3e-6 * np.abs(b).max(), err_msg=name)


def test_what_is_minimised_is_said_in_words(small):
    words = objective.of_run(configured("mlp", l2=PENALTIES["cs229"]), small).objective
    assert words.startswith("mean of half the squared distance")
    assert words.endswith("+ 0.02 (sum of squares of the weights)")


def test_the_loss_of_an_evaluation_has_no_penalty(small):
    with_penalty, without = (
        trainer.make_evaluate(objective.of_run(configured("mlp", l2=l2), small)) for l2 in (PENALTIES["cs229"], L2())
    )
    params = objective.of_run(configured("mlp"), small).init(jax.random.key(0))
    assert with_penalty(params, small.test).loss == without(params, small.test).loss


@pytest.mark.parametrize("parts", [3, 12])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(parts, small):
    model = objective.of_run(configured("two_layer"), small)
    params, (x, y) = model.init(jax.random.key(1)), batch(model, small)
    (loss, grads), (whole_loss, whole) = (loss_and_grads("explicit", model, n)(params, x, y) for n in (parts, 1))
    np.testing.assert_allclose(loss, whole_loss, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())


def test_a_part_at_a_time_is_computed(small):
    model = objective.of_run(configured("two_layer"), small)
    params, (x, y) = jax.eval_shape(model.init, jax.random.key(0)), batch(model, small)
    program = jax.make_jaxpr(loss_and_grads("explicit", model, 4))(params, x, y)
    (loop,) = [equation for equation in program.eqns if equation.primitive.name == "scan"]
    assert loop.params["length"] == 4
    assert {atom.aval.shape[:2] for atom in loop.invars[-2:]} == {(4, 3)}


@pytest.mark.parametrize("gradient", NAMES)
def test_bfloat16_computes_the_network_and_nothing_else(gradient, small):
    model = objective.of_run(configured("mlp", dtype="bfloat16", l2=PENALTIES["nielsen"]), small)
    exact = objective.of_run(configured("mlp", l2=PENALTIES["nielsen"]), small)
    params, (x, y) = model.init(jax.random.key(0)), batch(model, small)
    program = jax.make_jaxpr(loss_and_grads(gradient, model))(params, x, y)
    products = {str(atom.aval.dtype) for atom in inputs_of("dot_general", program.jaxpr)}
    exponentials = {str(atom.aval.dtype) for atom in inputs_of("div", program.jaxpr)}
    # automatic differentiation takes the cotangent of a product that is accumulated in float32 in float32
    assert products == ({"bfloat16", "float32"} if gradient == "automatic" else {"bfloat16"})
    assert "float32" in exponentials | {str(atom.aval.dtype) for atom in inputs_of("logistic", program.jaxpr)}
    (loss, grads), (exact_loss, wanted) = (loss_and_grads(gradient, each)(params, x, y) for each in (model, exact))
    assert {leaf.dtype for leaf in jax.tree.leaves((params, loss, grads))} == {jnp.dtype("float32")}
    assert model.logits(params, x).dtype == jnp.float32
    assert 0 < abs(float(loss - exact_loss)) < 0.01 * float(exact_loss)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(wanted), strict=True):
        assert 0 < np.abs(a - b).max() < 0.05 * np.abs(b).max()


def inputs_of(primitive: str, jaxpr) -> list:
    found = []
    for equation in jaxpr.eqns:
        found += equation.invars if equation.primitive.name == primitive else []
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            found += inputs_of(primitive, inner) if hasattr(inner, "eqns") else []
    return found


def test_checks_during_training_know_bfloat16(small):
    config = configured("mlp", dtype="bfloat16", check_every=1)
    chosen = trainer.build(config, small)
    state, key = chosen.init(0)
    _, _, rows = chosen.epoch(state, key, 1, lambda: False)
    bounds = np.array([parameter.bound for parameter in chosen.checked])
    assert ((bounds > 0.01) & (bounds < 0.1)).all()
    assert (rows <= bounds).all()
