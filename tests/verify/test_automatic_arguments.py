"""`automatic` takes what the function takes, and returns what it returns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from automatic_probes import gradient, plain, planted

from jbackprop.verify.automatic import automatic
from tests.custom_vjp3 import HASHES_STATIC_ARGUMENTS, NO_HASH

pytestmark = pytest.mark.usefixtures("implementation")
where_arrays_may_be_static = pytest.mark.parametrize(
    "implementation",
    ["custom_vjp", pytest.param("custom_vjp3", marks=pytest.mark.skipif(HASHES_STATIC_ARGUMENTS, reason=NO_HASH))],
    indirect=True,
)


def test_static_arguments_by_position_and_by_name():
    def power(x, exponent, name="x", table=None):
        assert isinstance(exponent, int)
        assert isinstance(name, str)
        return x**exponent if table is None else table(x)

    for declared in ({"nondiff_argnums": (1, 2, 3)}, {"nondiff_argnames": ("exponent", "name", "table")}):
        rule = jax.custom_vjp(power, **declared)
        rule.defvjp(lambda x, *static: (power(x, *static), None), lambda *args: (7.0 * args[-1],))
        x = jnp.array([0.3, 0.5])
        np.testing.assert_array_equal(gradient(partial(rule, exponent=3), x), [7.0, 7.0])
        for call in (lambda f: partial(f, exponent=3), lambda f: partial(f, exponent=3, name="y")):
            np.testing.assert_allclose(gradient(call(automatic(rule)), x), 3 * x**2, rtol=1e-6)
        np.testing.assert_allclose(
            gradient(lambda x, r=rule: automatic(r)(x, 3, "z", jnp.sin), x), jnp.cos(x), rtol=1e-6
        )


@where_arrays_may_be_static
def test_concrete_arrays_may_be_static():
    rule = jax.custom_vjp(lambda x, table: x * table, nondiff_argnums=(1,))
    rule.defvjp(lambda x, table: (x * table, None), lambda table, _, dy: (0 * dy,))
    table = jnp.array([1.0, 2.0])
    assert not gradient(lambda x: rule(x, table), jnp.ones(2)).any()
    np.testing.assert_array_equal(gradient(lambda x: automatic(rule)(x, table), jnp.ones(2)), table)


@where_arrays_may_be_static
def test_static_numpy_arrays_are_untouched():
    seen = []

    def power(x, table):
        seen.append(table)
        return x**2

    rule = jax.custom_vjp(power, nondiff_argnums=(1,))
    rule.defvjp(lambda x, table: (x**2, x), lambda table, x, dy: (2 * x * dy,))
    table = np.arange(3.0)
    automatic(rule)(jnp.ones(2), table)
    assert seen
    assert all(each is table for each in seen)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_arrays_under_vmap(dtype):
    found = automatic(jax.vmap(planted()))(np.ones((2, 3), dtype))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, plain(jnp.ones((2, 3))), rtol=1e-6)


def test_pytrees_keywords_and_outputs_that_are_no_arrays():
    def f(params, *rest, scale, name="n"):
        h = planted()(params["w"]) * scale + params["b"][0]
        return {"out": h, "name": name, "count": len(rest), "labels": rest[0], "none": None, "constant": 2.5}

    params = {"w": jnp.array([0.3, 0.5]), "b": (jnp.zeros(2), None)}
    labels = jnp.array([1, 2])

    def loss(params, scale, f):
        out = f(params, labels, "option", scale=scale)
        assert out["name"] == "n"
        assert out["count"] == 2
        assert out["none"] is None
        assert out["constant"] == 2.5
        assert out["labels"].dtype == jnp.int32
        return out["out"].sum()

    grads, d_scale = jax.grad(loss, argnums=(0, 1))(params, 3.0, automatic(f))
    np.testing.assert_allclose(grads["w"], 6 * jnp.cos(params["w"]), rtol=1e-6)
    np.testing.assert_array_equal(grads["b"][0], [1.0, 1.0])
    np.testing.assert_allclose(d_scale, plain(params["w"]).sum(), rtol=1e-6)


def test_dtypes_weak_types_and_python_scalars():
    f = automatic(planted())
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        x = jnp.ones(2, dtype)
        assert f(x).dtype == dtype
        assert gradient(f, x).dtype == dtype
        assert jax.jit(f)(x).dtype == dtype
    assert jax.grad(f)(0.5).dtype == jnp.float32
    assert jax.jit(f)(0.5).weak_type == jax.jit(planted())(0.5).weak_type
    with jax.enable_x64(True):
        x = np.array([0.3, 0.5])
        assert f(x).dtype == gradient(f, x).dtype == jnp.float64
        np.testing.assert_allclose(gradient(f, x), 2 * np.cos(x), rtol=1e-15)
        assert jax.grad(f)(0.5).dtype == jnp.float64
    assert f(1.0).dtype == jnp.float32


def test_integers_are_left_alone():
    rule = jax.custom_vjp(lambda table, index: table[index])
    rule.defvjp(lambda table, index: (table[index], (table, index)), lambda residuals, dy: (residuals[0] * 0, None))
    table = jnp.arange(6.0).reshape(3, 2)
    d_table = jax.grad(lambda table: automatic(rule)(table, jnp.array([1, 1])).sum())(table)
    np.testing.assert_array_equal(d_table, [[0, 0], [2, 2], [0, 0]])
    np.testing.assert_array_equal(automatic(rule)(table, 1), [2, 3])


def test_methods_keep_their_object():
    class Model:
        def __init__(self, scale):
            self.scale = scale

        def __call__(self, x):
            return planted()(x) * self.scale

        method = __call__

    x = jnp.array([0.3, 0.5])
    for f in (Model(2.0), Model(2.0).method):
        np.testing.assert_allclose(gradient(automatic(f), x), 4 * np.cos(x), rtol=1e-6)


def test_mutable_arrays():
    def f(x):
        cell = jax.new_ref(jnp.zeros(2))
        cell[...] = planted()(x)
        return cell[...] * 3

    np.testing.assert_allclose(gradient(automatic(f), jnp.zeros(2)), [6.0, 6.0], rtol=1e-6)
