"""`automatic` must find a wrong rule wherever it hides: each test first shows that the wrong gradient is visible."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from automatic_probes import gradient, plain, planted
from jax.sharding import AxisType, PartitionSpec

from jbackprop.verify.automatic import automatic

pytestmark = pytest.mark.usefixtures("implementation")


def inside_jvp(g):
    @jax.custom_jvp
    def f(x):
        return plain(x)

    @f.defjvp
    def f_jvp(primals, tangents):
        (x,), (dx,) = primals, tangents
        return f(x), jnp.cos(x) * dx * g(x) / jax.lax.stop_gradient(jnp.sin(x))

    return lambda x: jax.vmap(jax.grad(f))(x)


def inside_linear_solve(g):
    def f(x):
        return jax.lax.custom_linear_solve(lambda y: (2 + g(x)) * y, x, lambda _, b: b / (2 + g(x)), symmetric=True)

    return f


def inside_shard_map(g):
    mesh = jax.make_mesh((1,), ("i",), axis_types=(AxisType.Auto,))
    return jax.shard_map(
        lambda x: jax.lax.psum(g(x), "i"), mesh=mesh, in_specs=PartitionSpec("i"), out_specs=PartitionSpec()
    )


def inside_custom_vmap(g):
    f = jax.custom_batching.custom_vmap(g)
    f.def_vmap(lambda size, batched, x: (g(x), True))
    return jax.vmap(f)


def repeatedly_in_while(g):
    return lambda x: jax.lax.fori_loop(0, 3, lambda i, carry: g(carry), x)


def over_a_closed_array(g):
    table = np.arange(1.0, 4.0, dtype=np.float32)
    rule = jax.custom_vjp(lambda x: g(x) * table)
    rule.defvjp(lambda x: (g(x) * table, None), lambda _, dy: (7 * dy,)) if g is not plain else None
    f = rule if g is not plain else lambda x: g(x) * table
    return lambda x: jax.lax.scan(lambda carry, _: (f(carry), None), x, length=2)[0]


DEPTHS = {
    "itself": lambda g: g,
    "jit": lambda g: jax.jit(g),
    "jit in jit": lambda g: jax.jit(lambda x: jax.jit(g)(x) + 1),
    "inline jit": lambda g: jax.jit(g, inline=True),
    "scan": lambda g: lambda x: jax.lax.scan(lambda carry, _: (g(carry), g(carry)), x, length=3)[1],
    "fori_loop": repeatedly_in_while,
    "map": lambda g: lambda x: jax.lax.map(g, x, batch_size=2),
    "associative_scan": lambda g: lambda x: jax.lax.associative_scan(lambda a, b: g(a) + b, x),
    "cond, first": lambda g: lambda x: jax.lax.cond(x.sum() > 0, g, lambda x: x, x),
    "cond, second": lambda g: lambda x: jax.lax.cond(x.sum() < 0, lambda x: x, lambda x: g(g(x)), x),
    "switch": lambda g: lambda x: jax.lax.switch(1, [jnp.cos, g, jnp.sin], x),
    "checkpoint": lambda g: jax.checkpoint(lambda x: g(g(x))),
    "checkpoint, policy": lambda g: jax.checkpoint(g, policy=jax.checkpoint_policies.everything_saveable),
    "vmap": lambda g: jax.vmap(g),
    "vmap twice": lambda g: lambda x: jax.vmap(jax.vmap(g))(jnp.stack([x, 2 * x])),
    "vmap, last axis": lambda g: lambda x: jax.vmap(g, in_axes=1, out_axes=1)(jnp.stack([x, 2 * x])),
    "vmap of checkpoint of jit": lambda g: jax.vmap(jax.checkpoint(jax.jit(g))),
    "scan of cond of checkpoint": lambda g: (
        lambda x: jax.lax.scan(
            lambda carry, i: (jax.lax.cond(i > 0, jax.checkpoint(g), jnp.cos, carry), None), x, jnp.arange(3)
        )[0]
    ),
    "a rule in a rule": lambda g: g if g is plain else planted(lambda x: jax.jit(g)(x), factor=7.0),
    "a rule in a custom_jvp's rule": inside_jvp,
    "custom_vmap": inside_custom_vmap,
    "linear solve": inside_linear_solve,
    "shard_map": inside_shard_map,
    "a closed-over array in scan": over_a_closed_array,
    "partial": lambda g: partial(lambda x, power: g(x) ** power, power=2),
}


def is_visible(f, x, truth):
    """Whether a wrong rule in `f` shows: in the gradient, or because JAX refuses to differentiate it."""
    try:
        return not np.allclose(gradient(f, x), truth, rtol=1e-3)
    except TypeError as error:  # JAX itself cannot go through a `custom_vjp3` in vmap of checkpoint of jit
        return "can't apply forward-mode autodiff (jvp) to a custom_vjp function" in str(error)


@pytest.mark.parametrize("depth", DEPTHS.values(), ids=DEPTHS.keys())
def test_finds_the_rule_at_every_depth(depth):
    x = jnp.array([0.3, 0.5, 0.7])
    value, truth = jax.jit(lambda x: (depth(plain)(x), gradient(depth(plain), x)))(x)
    assert is_visible(jax.jit(depth(planted())), x, truth)
    f = automatic(depth(planted()))
    for found, wanted in zip(jax.jit(lambda x: (f(x), gradient(f, x)))(x), (value, truth), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("depth", ["itself", "jit in jit", "scan", "checkpoint", "vmap"])
def test_works_operation_by_operation(depth):
    x = jnp.array([0.3, 0.5, 0.7])
    np.testing.assert_allclose(
        gradient(automatic(DEPTHS[depth](planted())), x), gradient(DEPTHS[depth](plain), x), rtol=1e-5
    )


def test_a_custom_vjp_in_the_body_of_a_removed_custom_jvp_goes_too():
    rule = jax.custom_jvp(lambda x: planted()(x))
    rule.defjvp(lambda primals, tangents: (rule(primals[0]), 7 * tangents[0]))
    x = jnp.array([0.3, 0.5])
    np.testing.assert_allclose(gradient(automatic(rule, custom_jvp=True), x), gradient(plain, x), rtol=1e-6)


def test_closed_over_values_are_differentiated():
    def f(w):
        return automatic(lambda x: planted()(x * w))(jnp.array([1.0, 2.0])).sum()

    np.testing.assert_allclose(jax.grad(f)(0.3), 2 * (np.cos(0.3) + 2 * np.cos(0.6)), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.grad(f))(0.3), 2 * (np.cos(0.3) + 2 * np.cos(0.6)), rtol=1e-6)


def test_the_same_rule_twice_gets_variables_of_its_own():
    rule = planted()
    x = jnp.array([0.3, 0.5])
    expected = gradient(lambda x: plain(plain(x)) * plain(x), x)
    np.testing.assert_allclose(gradient(automatic(jax.jit(lambda x: rule(rule(x)) * rule(x))), x), expected, rtol=1e-5)


def test_no_rule_is_left_in_the_jaxpr():
    text = str(jax.make_jaxpr(automatic(jax.jit(jax.checkpoint(planted()))))(jnp.ones(2)))
    assert "sin" in text
    assert "custom_vjp" not in text
    assert "CustomVJP" not in text


def test_composes_with_every_transformation():
    x = jnp.array([0.3, 0.5, 0.7])
    f = automatic(planted())
    expected = 2 * jnp.cos(x)
    np.testing.assert_allclose(jax.vmap(jax.grad(f))(x), expected, rtol=1e-6)
    np.testing.assert_allclose(gradient(jax.vmap(f), x), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.jit(jax.grad(f))))(x), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(f, (x,), (jnp.ones(3),))[1], expected, rtol=1e-6)
    np.testing.assert_allclose(jnp.diag(jax.jacrev(f)(x)), expected, rtol=1e-6)
    np.testing.assert_allclose(jnp.diag(jax.hessian(lambda x: f(x).sum())(x)), -2 * jnp.sin(x), rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.grad(jax.grad(f)))(x), -2 * jnp.sin(x), rtol=1e-6)
    scanned = jax.lax.scan(lambda carry, row: (carry, jax.grad(f)(row)), 0.0, x)[1]
    np.testing.assert_allclose(scanned, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient(automatic(automatic(planted())), x), expected, rtol=1e-6)
