"""`automatic` must find a wrong rule wherever it hides: each test first shows that the wrong gradient is visible."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from jbackprop.verify.automatic import automatic


@pytest.fixture(params=[False, True], ids=["custom_vjp", "custom_vjp3"], autouse=True)
def implementation(request):
    """Every test runs with both implementations of `jax.custom_vjp`: the usual one and that of JAX_CUSTOM_VJP3=1."""
    before = getattr(jax.config, "jax_custom_vjp3")  # noqa: B009 (the type checker does not know the settings)
    jax.config.update("jax_custom_vjp3", request.param)
    yield
    jax.config.update("jax_custom_vjp3", before)


def plain(x):
    return 2 * jnp.sin(x)


def planted(function=plain, factor=100.0, **options):
    """`function` of one array with a wrong rule: a cotangent of `factor` everywhere."""
    rule = jax.custom_vjp(function)
    if options.get("symbolic_zeros"):
        rule.defvjp(lambda x: (function(x.value), x.value), lambda x, dy: (jnp.full_like(x, factor),), **options)
    else:
        rule.defvjp(lambda x: (function(x), x), lambda x, dy: (jnp.full_like(x, factor),), **options)
    return rule


def gradient(f, x):
    return jax.grad(lambda x: jnp.sum(f(x)))(x)


def is_visible(f, x, truth):
    """Whether a wrong rule in `f` shows: in the gradient, or because JAX cannot differentiate `f` at all."""
    try:
        return not np.allclose(gradient(f, x), truth, rtol=1e-3)
    except (TypeError, ValueError, NotImplementedError):
        return True


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


@pytest.mark.parametrize("depth", DEPTHS.values(), ids=DEPTHS.keys())
def test_finds_the_rule_at_every_depth(depth):
    x = jnp.array([0.3, 0.5, 0.7])
    value, truth = jax.jit(lambda x: (depth(plain)(x), gradient(depth(plain), x)))(x)
    assert is_visible(jax.jit(depth(planted())), x, truth)
    f = automatic(depth(planted()))
    for found, wanted in zip(jax.jit(lambda x: (f(x), gradient(f, x)))(x), (value, truth), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"optimize_remat": True}, {"symbolic_zeros": True}], ids=str)
def test_every_option_of_defvjp(options):
    x = jnp.array([0.3, 0.5])
    rule = planted(**options)
    np.testing.assert_array_equal(gradient(rule, x), [100.0, 100.0])
    np.testing.assert_allclose(gradient(automatic(rule), x), gradient(plain, x), rtol=1e-6)


def test_custom_gradient():
    @jax.custom_gradient
    def rule(x):
        return plain(x), lambda dy: (7 * dy,)

    x = jnp.array([0.3, 0.5])
    np.testing.assert_array_equal(gradient(rule, x), [7.0, 7.0])
    np.testing.assert_allclose(gradient(automatic(rule), x), gradient(plain, x), rtol=1e-6)


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


def test_concrete_arrays_may_be_static():
    rule = jax.custom_vjp(lambda x, table: x * table, nondiff_argnums=(1,))
    rule.defvjp(lambda x, table: (x * table, None), lambda table, _, dy: (0 * dy,))
    table = jnp.array([1.0, 2.0])
    try:
        assert not gradient(lambda x: rule(x, table), jnp.ones(2)).any()
    except ValueError as error:
        pytest.skip(f"JAX itself refuses it: {error}")
    np.testing.assert_array_equal(gradient(lambda x: automatic(rule)(x, table), jnp.ones(2)), table)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_arrays_under_vmap(dtype):
    found = automatic(jax.vmap(planted()))(np.ones((2, 3), dtype))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, plain(jnp.ones((2, 3))), rtol=1e-6)


def test_static_numpy_arrays_are_untouched():
    seen = []

    def power(x, table):
        seen.append(table)
        return x**2

    rule = jax.custom_vjp(power, nondiff_argnums=(1,))
    rule.defvjp(lambda x, table: (x**2, x), lambda table, x, dy: (2 * x * dy,))
    table = np.arange(3.0)
    try:
        rule(jnp.ones(2), table)
    except ValueError as error:
        pytest.skip(f"JAX itself refuses it: {error}")
    automatic(rule)(jnp.ones(2), table)
    assert seen[-1] is table


def test_no_tracer_is_kept():
    with jax.checking_leaks():
        assert gradient(automatic(planted()), jnp.ones(2)).shape == (2,)


def test_custom_jvp_stays_unless_asked():
    @jax.custom_jvp
    def rule(x):
        return plain(x)

    rule.defjvp(lambda primals, tangents: (rule(primals[0]), 7 * tangents[0]))
    x = jnp.array([0.3, 0.5])
    f = jax.jit(lambda x: jax.checkpoint(rule)(x))
    np.testing.assert_array_equal(gradient(automatic(f), x), [7.0, 7.0])
    np.testing.assert_allclose(gradient(automatic(f, custom_jvp=True), x), gradient(plain, x), rtol=1e-6)


def test_relu_of_jax_keeps_its_convention():
    assert jax.grad(automatic(jax.nn.relu))(0.0) == 0.0
    assert jax.grad(automatic(jax.nn.relu, custom_jvp=True))(0.0) == 0.5  # of jnp.maximum


def test_a_custom_vjp_in_the_body_of_a_removed_custom_jvp_goes_too():
    rule = jax.custom_jvp(lambda x: planted()(x))
    rule.defjvp(lambda primals, tangents: (rule(primals[0]), 7 * tangents[0]))
    x = jnp.array([0.3, 0.5])
    np.testing.assert_allclose(gradient(automatic(rule, custom_jvp=True), x), gradient(plain, x), rtol=1e-6)


@pytest.mark.parametrize("depth", ["itself", "jit in jit", "scan", "checkpoint", "vmap"])
def test_works_operation_by_operation(depth):
    x = jnp.array([0.3, 0.5, 0.7])
    np.testing.assert_allclose(
        gradient(automatic(DEPTHS[depth](planted())), x), gradient(DEPTHS[depth](plain), x), rtol=1e-5
    )


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


def test_closed_over_values_are_differentiated():
    def f(w):
        return automatic(lambda x: planted()(x * w))(jnp.array([1.0, 2.0])).sum()

    np.testing.assert_allclose(jax.grad(f)(0.3), 2 * (np.cos(0.3) + 2 * np.cos(0.6)), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.grad(f))(0.3), 2 * (np.cos(0.3) + 2 * np.cos(0.6)), rtol=1e-6)


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


def test_leaves_the_function_as_it_was():
    rule = planted()
    x = jnp.array([0.3, 0.5])
    gradient(automatic(jax.jit(rule)), x)
    np.testing.assert_array_equal(gradient(jax.jit(rule), x), [100.0, 100.0])
    assert not hasattr(automatic(rule), "bwd")


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


def test_mutable_arrays():
    if not hasattr(jax, "new_ref"):
        pytest.skip("this JAX has no mutable arrays")

    def f(x):
        cell = jax.new_ref(jnp.zeros(2))
        cell[...] = planted()(x)
        return cell[...] * 3

    np.testing.assert_allclose(gradient(automatic(f), jnp.zeros(2)), [6.0, 6.0], rtol=1e-6)


def test_errors_of_the_function_pass_through():
    def f(x):
        raise ValueError("these words")

    with pytest.raises(ValueError, match="these words"):
        automatic(f)(jnp.ones(2))
