"""A part of the gradient that a rule leaves out is named by an operation and the line of code that it flows through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_probes import normal, rule

from jbackprop.verify.arguments import take_apart
from jbackprop.verify.compare import compare_vjp
from jbackprop.verify.float64 import float64_scope
from jbackprop.verify.paths import MOST, paths_of
from jbackprop.verify.widen import AsTraced


def with_bwd(primal, bwd):
    return rule(primal, lambda *args: (primal(*args), args), lambda args, dy: bwd(dy, *args))


def sentences(primal, bwd, *args):
    report = compare_vjp(with_bwd(primal, bwd), *args)
    return {diagnosis.argument: diagnosis.sentence for diagnosis in report.diagnoses}


def layer_norm(x):
    mean = x.mean(-1, keepdims=True)
    z = x - mean
    variance = (z * z).mean(-1, keepdims=True)
    return z / jnp.sqrt(variance + 1e-5)


def standardised(x):
    z = x - x.mean(-1, keepdims=True)
    rstd = 1 / jnp.sqrt((z * z).mean(-1, keepdims=True) + 1e-5)
    return z * rstd, rstd


def layer_norm_bwd(mean, variance):
    """The right backward pass with other weights of its two means."""

    def bwd(dy, x):
        y, rstd = standardised(x)
        return (rstd * (dy - mean * dy.mean(-1, keepdims=True) - variance * y * (dy * y).mean(-1, keepdims=True)),)

    return bwd


LINE = layer_norm.__code__.co_firstlineno + 3
VARIANCE = "into `mul` in `variance = (z * z).mean(-1, keepdims=True)`"


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ((1, 0), (f"{VARIANCE} (test_parts.py:{LINE}) is missing",)),
        ((1, -1), (f"{VARIANCE} (test_parts.py:{LINE}) has the wrong sign",)),
        ((1, 2), (f"{VARIANCE} (test_parts.py:{LINE}) is there twice",)),
        ((1, 0.25), (f"{VARIANCE} (test_parts.py:{LINE}) is multiplied by 0.25",)),
        ((0, 0), ("from `x` into `reduce_sum` in `mean = x.mean(-1, keepdims=True)`", VARIANCE, "are missing")),
    ],
)
def test_the_statistics_of_a_layer_norm(weights, sentence):
    found = sentences(layer_norm, layer_norm_bwd(*weights), normal(7, 12))
    assert all(part in found["x"] for part in sentence)


def test_a_weight_that_is_used_twice():
    def tied(x, w):
        h = jnp.tanh(x @ w)
        return h @ w.T

    def bwd(dy, x, w):
        h = jnp.tanh(x @ w)
        return (dy @ w * (1 - h * h)) @ w.T, dy.T @ h

    found = sentences(tied, bwd, normal(9, 6), normal(6, 5, seed=1))
    assert list(found) == ["w"]
    assert "from `w` into `dot_general` in `h = jnp.tanh(x @ w)` (test_parts.py:" in found["w"]
    assert found["w"].endswith("is missing")


def test_a_recurrence_through_which_nothing_flows():
    def recurrent(xs, w, u):
        def step(h, x):
            h = jnp.tanh(x @ w + h @ u)
            return h, h

        return jax.lax.scan(step, jnp.zeros(u.shape[0]), xs)[1]

    def bwd(dy, xs, w, u):
        states = recurrent(xs, w, u)
        before = jnp.concatenate([jnp.zeros((1, u.shape[0])), states[:-1]])
        da = dy * (1 - states**2)
        return da @ w.T, xs.T @ da, before.T @ da

    found = sentences(recurrent, bwd, normal(10, 4), normal(4, 6, seed=1), normal(6, 6, seed=2))
    words = "what flows from the state of the `scan` into `dot_general` in `h = jnp.tanh(x @ w + h @ u)`"
    assert found["w"].startswith(words)
    assert found["u"].startswith(words)


def test_attention_without_the_sum_of_its_softmax():
    def attention(q, k, v):
        p = jax.nn.softmax(q @ k.T / 4.0)
        return p @ v

    def bwd(dy, q, k, v):
        p = jax.nn.softmax(q @ k.T / 4)
        ds = p * (dy @ v.T) / 4
        return ds @ k, ds.T @ q, p.T @ dy

    found = sentences(attention, bwd, normal(6, 16), normal(8, 16, seed=1), normal(8, 5, seed=2))
    assert list(found) == ["q", "k"]
    for sentence in found.values():
        assert "from `exp` into `reduce_sum`, both in `p = jax.nn.softmax(q @ k.T / 4.0)`" in sentence


def test_the_line_of_the_call_where_jax_has_traced_a_function_before():
    def gated(x, w, v):
        gate = jax.nn.silu(x @ v)
        return (x @ w) * gate

    def bwd(dy, x, w, v):
        a, u = x @ w, x @ v
        s = jax.nn.sigmoid(u)
        da, du = dy * u * s, dy * a * s
        return da @ w.T + du @ v.T, x.T @ da, x.T @ du

    found = sentences(gated, bwd, normal(8, 4), normal(4, 6, seed=1), normal(4, 6, seed=2))
    assert "into `logistic`, both in `gate = jax.nn.silu(x @ v)`" in found["v"]


def test_a_branch():
    def f(x, flag):
        return x + jax.lax.cond(flag, lambda x: jnp.sin(x) * x[::-1], lambda x: x, x)

    found = sentences(f, lambda dy, x, flag: (dy + dy * jnp.cos(x) * x[::-1], None), normal(9), jnp.asarray(True))
    assert "from `x` into `rev` in `return x + jax.lax.cond(" in found["x"]


def test_a_number_that_a_branch_reads_twice():
    def f(x, p):
        return jax.lax.cond(p > 0, lambda y: y * jnp.exp(y), lambda y: y, jnp.sin(x)) + x

    found = sentences(f, lambda dy, x, p: (dy * (jnp.exp(jnp.sin(x)) * jnp.cos(x) + 1), None), normal(9), jnp.int32(1))
    assert found["x"].startswith("what flows from `sin` into `exp`")
    assert found["x"].endswith("is missing")


def parts_of(f, *args):
    call = take_apart(f, args, {})
    types = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in args)
    return paths_of(f, call, AsTraced(types, (), False, float(jnp.finfo(jnp.float32).eps)))


def test_parts_that_share_nothing_add_up_to_the_gradient():
    x, dy = normal(6), np.sin(np.arange(6.0))
    parts = parts_of(lambda x: jnp.sin(x) + jnp.exp(x) * 3, x)
    assert parts is not None
    (whole,), rests = parts.without((), [dy]), [parts.without((k,), [dy])[0] for k in range(len(parts.words))]
    assert [words.split(" into ")[1].split(" ")[0] for words in parts.words[:2]] == ["`sin`", "`exp`"]
    with float64_scope():
        wide = jnp.asarray(np.asarray(x, np.float64))
        sine, exponential = np.asarray(jnp.cos(wide)), np.asarray(3 * jnp.exp(wide))
    np.testing.assert_allclose(whole, dy * (sine + exponential), rtol=1e-12)
    np.testing.assert_allclose(rests[0], dy * exponential, rtol=1e-12)
    np.testing.assert_allclose(rests[1], dy * sine, rtol=1e-12)
    np.testing.assert_array_equal(parts.without((0, 1), [dy])[0], np.zeros(6))


def test_operations_in_a_row_are_one_part():
    parts = parts_of(lambda x: x * jnp.exp(jnp.sin(jnp.cos(x))), normal(6))
    assert parts is not None
    assert [words.split(" from ")[1].split(" in ")[0] for words in parts.words] == [
        "`x` into `cos`",
        "`x` into `mul`",
    ]


def test_of_large_programs_nothing_is_said():
    def long(x):
        for k in range(MOST):
            x = x + jnp.sin(k * x)
        return x

    assert parts_of(long, normal(3)) is None
