"""`compare_gradients` on a network of two layers whose explicit gradient, or whose rule, is made wrong on purpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.verify.gradients import compare_gradients


def normal(*shape, seed):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


PARAMS = {"layers": [{"w": normal(5, 4, seed=0)}, {"w": normal(4, 1, seed=1)}], "scale": jnp.float32(0.7)}
X, Y = normal(6, 5, seed=2), jnp.arange(6) % 2


def network(factor=1.0, rule_factor=1.0):
    """`loss` and `loss_and_grads`; `factor` spoils the explicit gradient of w1, `rule_factor` the rule of tanh."""
    tanh = jax.custom_vjp(lambda z: jnp.tanh(z))
    tanh.defvjp(lambda z: (jnp.tanh(z), jnp.tanh(z)), lambda a, da: (rule_factor * da * (1 - a**2),))

    def parts(params, x, y):
        first, second = params["layers"]
        a = tanh(x @ first["w"])
        residual = params["scale"] * (a @ second["w"])[:, 0] - y.astype(x.dtype)
        return a, residual

    def loss(params, x, y):
        return (parts(params, x, y)[1] ** 2).mean()

    def loss_and_grads(params, x, y):
        a, residual = parts(params, x, y)
        second = params["layers"][1]["w"]
        d_out = 2 * residual / residual.size
        d_a = params["scale"] * d_out[:, None] * second[:, 0]
        d_first = factor * x.T @ (d_a * (1 - a**2))
        d_second = params["scale"] * a.T @ d_out[:, None]
        d_scale = (d_out * (a @ second)[:, 0]).sum()
        return (residual**2).mean(), {"layers": [{"w": d_first}, {"w": d_second}], "scale": d_scale}

    return loss, loss_and_grads


def test_three_gradients_that_agree():
    comparison = compare_gradients(*network(), PARAMS, X, Y)
    assert [(row.path, row.shape, row.dtype) for row in comparison.rows] == [
        ("layers.0.w", (5, 4), "float32"),
        ("layers.1.w", (4, 1), "float32"),
        ("scale", (), "float32"),
    ]
    worst = comparison.worst
    assert max(worst.explicit_error, worst.rules_error) < 1e-6
    assert max(worst.explicit_error_float64, worst.rules_error_float64) < 1e-14
    assert comparison.agree
    assert comparison.verdict == "agree: bounds 1e-06 in float32, 1e-14 in float64"
    assert worst.explicit_error > 1e-9  # float32 was measured in float32


@pytest.mark.parametrize("factor", [-1.0, 2.0, 1.0 + 1e-9])
def test_a_wrong_explicit_gradient_shows_in_its_own_column_and_row(factor):
    comparison = compare_gradients(*network(factor=factor), PARAMS, X, Y)
    wrong, *right = comparison.rows
    np.testing.assert_allclose(wrong.explicit_error_float64, abs(factor - 1), rtol=1e-5)
    assert not comparison.agree
    assert comparison.verdict.startswith("WRONG")
    assert wrong.rules_error_float64 < 1e-14
    assert all(row.explicit_error_float64 < 1e-14 for row in right)
    assert comparison.worst.explicit_error_float64 == wrong.explicit_error_float64


def test_a_wrong_rule_shows_in_its_own_column_and_row():
    comparison = compare_gradients(*network(rule_factor=2.0), PARAMS, X, Y)
    wrong, *right = comparison.rows
    np.testing.assert_allclose((wrong.rules_error, wrong.rules_error_float64), 1.0, rtol=1e-5)
    assert wrong.explicit_error_float64 < 1e-14
    assert all(row.rules_error_float64 < 1e-14 for row in right)


def test_a_gradient_that_is_zero_or_not_finite():
    params = {"a": jnp.zeros(2), "b": jnp.ones(2)}

    def loss(params, x):
        return (0 * params["a"] * x + params["b"] / x).sum()

    def wrong(params, x):
        return loss(params, x), {"a": x, "b": jnp.ones(2)}

    a, b = compare_gradients(loss, wrong, params, jnp.array([1.0, 0.0])).rows
    assert a.explicit_error == np.inf  # something where there is nothing
    assert a.rules_error == 0.0
    assert b.explicit_error == np.inf  # finite where the gradient is infinite
    assert b.rules_error == 0.0


@pytest.mark.parametrize(
    ("grads", "words"),
    [
        ({"w": jnp.ones(3), "b": jnp.ones(1)}, "the explicit gradients have the tree"),
        ({"w": jnp.ones((3, 1))}, r"the explicit gradient of w is float\d\d\[3, 1\], not float\d\d\[3\]"),
        ({"w": jnp.ones(3, jnp.float16)}, r"the explicit gradient of w is float16\[3\], not float32\[3\]"),
    ],
    ids=["tree", "shape", "dtype"],
)
def test_refuses_gradients_unlike_the_parameters(grads, words):
    with pytest.raises(ValueError, match=words):
        compare_gradients(
            lambda p, x: (p["w"] * x).sum(), lambda p, x: (x.sum(), grads), {"w": jnp.ones(3)}, jnp.ones(3)
        )


def test_the_table_can_be_read():
    lines = str(compare_gradients(*network(), PARAMS, X, Y)).splitlines()
    assert lines[0].split("  ")[0] == "parameter"
    assert [line.split()[0] for line in lines[1:]] == ["layers.0.w", "layers.1.w", "scale", "worst"]


def test_changes_no_setting():
    compare_gradients(*network(), PARAMS, X, Y)
    assert jnp.ones(1).dtype == jnp.float32


@pytest.mark.parametrize("factor", [1.0, 1.001])
def test_a_gradient_that_cancels_to_almost_nothing_is_held_against_rounding(factor):
    """p - y of a network that is sure and right is rounding for the most part, in every way of writing it."""
    x, labels = 12 * jnp.eye(10), jnp.arange(10)
    params = {"w": jnp.eye(10) + 0.01 * normal(10, 10, seed=3)}

    def loss(params, x, y):
        return -jnp.take_along_axis(jax.nn.log_softmax(x @ params["w"]), y[:, None], 1).mean()

    def loss_and_grads(params, x, y):
        z = jnp.exp(x @ params["w"])
        d_z = (z / z.sum(1, keepdims=True) - jax.nn.one_hot(y, 10, dtype=z.dtype)) / y.size
        return loss(params, x, y), {"w": factor * x.T @ d_z}

    comparison = compare_gradients(loss, loss_and_grads, params, x, labels)
    assert comparison.worst.explicit_error > 1e-6
    assert comparison.agree == (factor == 1)
    assert ("rounding error of an automatic gradient" in comparison.verdict) == (factor == 1)
