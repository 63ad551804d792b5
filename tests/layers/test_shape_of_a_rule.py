"""What the house demands of every rule, whatever it computes."""

import importlib
import inspect
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jbackprop
from jbackprop.verify.cases import RULES, rule_case

NAMES = [case.name for case in RULES]


def trio(name):
    module = importlib.import_module(f"jbackprop.layers.{name}")
    return getattr(module, name), getattr(module, f"{name}_fwd"), getattr(module, f"{name}_bwd")


def primitives(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for inner in jax.tree.leaves(eqn.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
            if hasattr(inner, "eqns"):
                yield from primitives(inner)
            elif hasattr(inner, "jaxpr"):
                yield from primitives(inner.jaxpr)


@pytest.mark.parametrize("name", NAMES)
def test_the_trio_is_public_and_the_function_is_exported_flat(name):
    f, fwd, bwd = trio(name)
    assert getattr(jbackprop, name) is f is rule_case(name).function
    assert inspect.signature(fwd).parameters.keys() == inspect.signature(f).parameters.keys()
    for parameter, of_fwd in zip(
        inspect.signature(f).parameters.values(), inspect.signature(fwd).parameters.values(), strict=True
    ):
        assert parameter.default == of_fwd.default
        assert parameter.kind == parameter.POSITIONAL_OR_KEYWORD
    assert list(inspect.signature(bwd).parameters)[-2] == "residuals"


@pytest.mark.parametrize("name", NAMES)
def test_neither_pass_calls_a_custom_rule(name):
    _, fwd, bwd = trio(name)
    case = rule_case(name)
    example = case.examples[0]
    args = example.arguments(jax.random.key(0), jnp.float32)
    (value, residuals) = fwd(*args, **example.options)
    defaults = [p.default for p in inspect.signature(fwd).parameters.values()]
    statics = defaults[len(defaults) - (len(inspect.signature(bwd).parameters) - 2) :]
    for jaxpr in (
        jax.make_jaxpr(lambda args: fwd(*args, **example.options))(args),
        jax.make_jaxpr(lambda r, ct: bwd(*statics, r, ct))(residuals, value),
    ):
        assert not [p for p in primitives(jaxpr.jaxpr) if "custom_vjp" in p]


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_gives_formula_shapes_residuals_and_source(name):
    doc = trio(name)[0].__doc__ or ""
    for part in ("Returns $", "$$", "Residuals:", "Source:", ">>>"):
        assert part in doc, part


def test_every_module_of_a_rule_is_in_the_registry():
    helpers = {
        "argument_checks",
        "precision",
        "reductions",
        "sides",
        "stable_softmax",
        "static_arguments",
        "windows",
    }
    import pkgutil

    import jbackprop.layers

    assert {module.name for module in pkgutil.iter_modules(jbackprop.layers.__path__)} - helpers == set(NAMES)


@pytest.mark.usefixtures("as_users_see_it")
def test_numpy_arrays_and_python_numbers_are_welcome():
    x, w = np.ones((2, 3)), np.ones((3, 4), np.float32)
    assert jbackprop.linear(x.astype(np.float32), w).shape == (2, 4)
    assert jbackprop.linear(x, np.ones((3, 4))).dtype == jnp.result_type(float)
    assert float(jbackprop.sigmoid(0.0)) == 0.5
    assert float(jax.grad(jbackprop.relu)(2.0, at_zero=1)) == 1.0
    assert jbackprop.max_pool(np.ones((4, 4, 1), np.float32), padding=((1, 0), (0, 1))).shape == (2, 2, 1)
    labels = np.array([1, 0], np.uint8)
    assert np.isfinite(jbackprop.softmax_cross_entropy(np.zeros((2, 300), np.float32), labels))


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
def test_labels_of_any_integer_dtype_are_judged_by_their_value(dtype):
    labels = jnp.asarray([0, 2, 3, 127], dtype)
    loss = jax.jit(lambda labels: jbackprop.softmax_cross_entropy(jnp.zeros((4, 3)), labels, "none"))(labels)
    assert np.isnan(loss).tolist() == [False, False, True, True]


def test_every_rule_gives_the_same_gradient_on_four_devices():
    """In a process of its own, since the number of devices is fixed when JAX starts."""
    program = textwrap.dedent(
        """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import NamedSharding, PartitionSpec
        from jbackprop.layers import linear, relu, sigmoid, conv2d, max_pool, avg_pool, softmax_cross_entropy

        mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))

        def loss(w, k, x, y):
            h = relu.relu(conv2d.conv2d(x, k, None, 1, "SAME"))
            h = avg_pool.avg_pool(max_pool.max_pool(h, 3, 2), 2)
            z = linear.linear(sigmoid.sigmoid(h.reshape(h.shape[0], -1)), w)
            return softmax_cross_entropy.softmax_cross_entropy(z, y)

        rng = np.random.default_rng(0)
        k = jnp.asarray(rng.standard_normal((3, 3, 1, 4)), jnp.float32)
        x = jnp.asarray(rng.standard_normal((8, 9, 9, 1)), jnp.float32)
        w = jnp.asarray(rng.standard_normal((16, 3)), jnp.float32)
        y = jnp.asarray(rng.integers(0, 3, 8))
        step = jax.jit(jax.value_and_grad(loss, (0, 1)))
        alone = step(w, k, x, y)
        shared = step(*jax.device_put((w, k), whole), *jax.device_put((x, y), split))
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(shared)):
            assert len(b.sharding.device_set) == 4
            assert np.abs(a - b).max() <= 1e-6 * np.abs(a).max()
        print("agree on", jax.device_count(), "devices")
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={
            **__import__("os").environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
            "JAX_PLATFORMS": "cpu",
        },
    )
    assert result.stdout.strip() == "agree on 4 devices", result.stderr
