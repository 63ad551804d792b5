"""Initial parameters: variances, shapes, dtypes, independence, and the widths that are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.networks import cnn, deep, mlp, regression, two_layer
from jbackprop.networks.initial import normal_weights

KEY = jax.random.key(0)


def assert_variance(weights, wanted):
    weights = np.asarray(weights)
    assert abs(weights.mean()) < 5 * (wanted / weights.size) ** 0.5
    assert abs(weights.var() / wanted - 1) < 5 * (2 / weights.size) ** 0.5


def test_variances_follow_the_fan_in():
    widths = (100, 60, 100)
    small = two_layer.init(KEY, widths)
    assert_variance(small["w1"], 1 / 100)
    assert_variance(small["w2"], 1 / 60)
    first, last = mlp.init(KEY, widths)
    assert_variance(first["w"], 2 / 100)
    assert_variance(last["w"], 1 / 60)
    assert_variance(mlp.init(KEY, widths, activation="tanh")[0]["w"], 1 / 100)
    W1, W2 = deep.init(KEY, widths)["layers"]
    assert_variance(W1, 2 / 100)
    assert_variance(W2, 2 / 60)
    assert_variance(deep.init(KEY, widths, activation="sigmoid")["layers"][0], 1 / 100)
    assert_variance(deep.init(KEY, (2, 4000))["alpha"], 1 / 4000)
    assert_variance(regression.init(KEY, widths)["w1"], 1 / 100)
    assert_variance(regression.init(KEY, widths)["w2"], 1 / 60)
    assert_variance(regression.init(KEY, widths, hidden="relu")["w1"], 2 / 100)
    assert_variance(regression.init(KEY, widths[:2])["w"], 1 / 100)
    params = cnn.init(KEY, cnn.Sizes((4, 4, 5), (cnn.Block(40, 2, "SAME"),), (60, 100)))
    assert_variance(params["conv"][0]["w"], 2 / 20)
    assert_variance(params["dense"][0]["w"], 2 / 160)
    assert_variance(params["dense"][1]["w"], 1 / 60)


def test_biases_start_at_zero_and_weights_differ():
    trees = [mlp.init(KEY, (6, 6, 6)), two_layer.init(KEY, (6, 6, 6)), regression.init(KEY, (6, 6, 6))]
    for leaves in map(jax.tree.leaves, trees):
        leaves = [np.asarray(leaf) for leaf in leaves]
        weights = [leaf for leaf in leaves if leaf.ndim > 1]
        assert all((leaf == 0).all() for leaf in leaves if leaf.ndim == 1)
        assert len(weights) == 2
        assert (weights[0] != weights[1]).all()
    W1, W2 = np.asarray(deep.init(KEY, (6, 6, 6))["layers"])
    assert (W1 != W2).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtype(dtype):
    trees = jax.eval_shape(
        lambda: (
            two_layer.init(KEY, (4, 3, 2), dtype),
            mlp.init(KEY, (4, 3, 2), dtype),
            deep.init(KEY, (4, 3, 2), dtype),
            regression.init(KEY, (4, 1), dtype),
            regression.init(KEY, (4, 3, 1), dtype),
            cnn.init(KEY, cnn.Sizes((4, 4, 1), (cnn.Block(2, 3),), (2,)), dtype),
        )
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(trees)} == {jnp.dtype(dtype)}


def test_kernels_count_every_axis_but_the_last():
    assert_variance(normal_weights(KEY, (5, 4, 3, 2000)), 1 / 60)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("init", "sizes", "words"),
    [
        (
            two_layer.init,
            (784, 10),
            r"two_layer\.init: sizes \(784, 10\) has 2 of at least 3 widths: give .*\(784, 300, 10\)",
        ),
        (two_layer.init, (4, 3, 3, 2), r"two_layer\.init: sizes .* more than 3 widths: use networks\.mlp"),
        (mlp.init, (784,), r"mlp\.init: sizes \(784,\) has 1 of at least 2 widths: give \(inputs, \.\.\., outputs\)"),
        (deep.init, (8,), r"deep\.init: sizes \(8,\) has 1 of at least 2 widths"),
        (regression.init, (), r"regression\.init: sizes \(\) has 0 of at least 2 widths"),
        (regression.init, (4, 3, 2, 1), r"regression\.init: sizes .* more than 3 widths: use networks\.mlp or deep"),
        (mlp.init, (784, 0, 10), r"mlp\.init: sizes \(784, 0, 10\) has a width below 1"),
    ],
)
def test_refused_widths(init, sizes, words):
    with pytest.raises(ValueError, match=words):
        init(KEY, sizes)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        (5, r"sizes is 5, no sequence: give \(inputs, \.\.\., outputs\)"),
        ("784", r"sizes is '784', no sequence: give"),
        ((4, 3.5, 2), r"sizes \(4, 3\.5, 2\) has the width 3\.5: every width is an integer"),
        ((4, "3", 2), r"sizes \(4, '3', 2\) has the width '3': every width is an integer"),
    ],
)
@pytest.mark.parametrize("network", [mlp, two_layer, deep, regression])
def test_widths_that_are_no_integers_are_refused(network, sizes, words):
    name = network.__name__.rsplit(".", 1)[-1]
    with pytest.raises(TypeError, match=rf"^{name}\.init: {words}"):
        network.init(KEY, sizes)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("init", "option"), [(mlp.init, "activation"), (deep.init, "activation"), (regression.init, "hidden")]
)
@pytest.mark.parametrize("sizes", [(3, 1), (3, 2, 1)])
def test_an_unknown_activation_is_refused_at_every_depth(init, option, sizes):
    with pytest.raises(ValueError, match=r"activation: 'bogus' is unknown: choose one of identity, "):
        init(KEY, sizes, **{option: "bogus"})
