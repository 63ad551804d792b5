"""What the house demands of every rule, whatever it computes."""

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jbackprop
import jbackprop.layers
from jbackprop.verify.cases import RULES, rule_case
from tests.custom_vjp3 import unhashable_static_arguments
from tests.primitives import custom_rules

NAMES = [case.name for case in RULES]


def trio(name):
    module = importlib.import_module(f"jbackprop.layers.{name}")
    return getattr(module, name), getattr(module, f"{name}_fwd"), getattr(module, f"{name}_bwd")


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
    f, fwd, bwd = trio(name)
    case = rule_case(name)
    example = case.examples[0]
    args = example.arguments(jax.random.key(0), jnp.float32)
    (value, residuals) = fwd(*args, **example.options)
    defaults = [p.default for p in inspect.signature(fwd).parameters.values()]
    statics = defaults[len(defaults) - (len(inspect.signature(bwd).parameters) - 2) :]
    assert custom_rules(lambda args: f(*args, **example.options), args)
    assert not custom_rules(lambda args: fwd(*args, **example.options), args)
    assert not custom_rules(lambda r, ct: bwd(*statics, r, ct), residuals, value)


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_gives_formula_shapes_residuals_and_source(name):
    doc = trio(name)[0].__doc__ or ""
    for part in ("Returns $", "$$", "Residuals:", "Source:", ">>>"):
        assert part in doc, part


@pytest.mark.parametrize("case", RULES, ids=NAMES)
def test_the_registry_names_each_array_that_is_kept(case):
    """`x, w` are two arrays, `none but the shape` is none, and what `one byte an element` follows is of one byte."""
    example = case.examples[0]
    _, residuals = trio(case.name)[1](*example.arguments(jax.random.key(0), jnp.float32), **example.options)
    kept = [leaf for leaf in jax.tree.leaves(residuals) if leaf.size]
    parts = re.split(", | and ", case.residuals)
    named = [part for part in parts if not part.startswith(("no", "one byte"))]
    assert len(kept) == len(named)
    assert sum(leaf.dtype.itemsize == 1 for leaf in kept) == sum(part.startswith("one byte") for part in parts)


def test_every_module_of_a_rule_is_in_the_registry():
    helpers = {
        "argument_checks",
        "class_indices",
        "conv2d_of_images",
        "label_part",
        "one_cpu",
        "precision",
        "reductions",
        "sharding",
        "sides",
        "stable_softmax",
        "static_arguments",
        "window_winners",
        "windows",
    }
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


ON_FOUR_DEVICES = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from jbackprop import avg_pool, conv2d, linear, max_pool, relu, sigmoid, softmax_cross_entropy

def loss(params, x, y):
    k, kb, w, b = params
    h = relu(conv2d(x, k, kb, 1, "SAME"))
    h = sigmoid(avg_pool(max_pool(h, 3, 2), 2))
    return softmax_cross_entropy(linear(h.reshape(h.shape[0], -1), w, b), y)

rng = np.random.default_rng(0)
draw = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)
params = draw(3, 3, 1, 4), draw(4), draw(16, 3), draw(3)
x, y = draw(8, 9, 9, 1), jnp.asarray(rng.integers(0, 3, 8))
alone = jax.jit(jax.grad(loss))(params, x, y)

def placed(kind):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(kind,))
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    return mesh, jax.device_put(params, whole), *jax.device_put((x, y), split)

def automatic_sharding():
    _, *placed_args = placed(AxisType.Auto)
    return jax.jit(jax.grad(loss))(*placed_args)

def explicit_sharding():
    _, *placed_args = placed(AxisType.Explicit)
    return jax.jit(jax.grad(loss))(*placed_args)

def shard_map():
    mesh, *placed_args = placed(AxisType.Auto)
    step = jax.grad(lambda params, x, y: jax.lax.pmean(loss(params, x, y), "data"))
    return jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P()))(*placed_args)

for way in (automatic_sharding, explicit_sharding, shard_map):
    for a, b in zip(alone, way(), strict=True):
        assert len(b.sharding.device_set) == 4, way
        assert np.abs(a - b).max() <= 1e-6 * np.abs(a).max(), way
    print(way.__name__)
"""


def test_a_network_of_rules_has_the_same_gradient_on_four_devices_however_it_is_shared_out():
    """In a process of its own, since the number of devices is fixed when JAX starts."""
    result = subprocess.run(
        [sys.executable, "-c", ON_FOUR_DEVICES],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"},
    )
    assert result.stdout.split() == ["automatic_sharding", "explicit_sharding", "shard_map"], result.stderr


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: jbackprop.relu(None), "relu: z is a NoneType: give an array"),
        (lambda: jbackprop.linear(None, jnp.ones((2, 2))), "linear: x is a NoneType"),
        (lambda: jbackprop.sigmoid([1.0, 2.0]), "sigmoid: z is a list: give an array, jnp.asarray(z)"),
        (
            lambda: jbackprop.softmax_cross_entropy(jnp.ones((1, 2)), [0]),
            "softmax_cross_entropy: labels is a list: give an array, jnp.asarray(labels)",
        ),
        (
            lambda: jbackprop.softmax_cross_entropy([[1.0, 2.0]], jnp.array([0])),
            "softmax_cross_entropy: logits is a list: give an array, jnp.asarray(logits)",
        ),
        (lambda: jbackprop.softmax(jnp.ones((2, 2)), axis=(0, 1)), "softmax: axis is (0, 1): give one integer"),
        pytest.param(
            lambda: jbackprop.max_pool(jnp.ones((4, 4, 1)), [2, 2]),
            "window is [2, 2]: give an integer or a tuple (height, width)",
            marks=unhashable_static_arguments,
        ),
        (
            lambda: jbackprop.tanh(jnp.ones(2, jnp.float8_e4m3fn)),
            "tanh: z is float8_e4m3fn: cast it to one of",
        ),
    ],
)
def test_what_is_no_array_or_no_option_is_refused_with_words(call, words):
    with pytest.raises(TypeError) as caught:
        call()
    assert words in str(caught.value)


@pytest.mark.usefixtures("as_users_see_it")
def test_static_numbers_of_numpy_do_not_change_the_dtype():
    z = jnp.asarray([-1.0, 0.0, 1.0], jnp.bfloat16)
    assert jbackprop.leaky_relu(z, np.float64(0.25)).dtype == jnp.bfloat16
    assert jax.grad(lambda z: jbackprop.leaky_relu(z, np.float64(0.25)).sum())(z).tolist() == [0.25, 1.0, 1.0]
    assert jax.grad(lambda z: jbackprop.relu(z, np.float64(0.5)).sum())(z).tolist() == [0.0, 0.5, 1.0]
    x, w = jnp.ones((1, 2, 2, 2)), jnp.ones((1, 1, 1, 2))
    assert jbackprop.conv2d(x, w, groups=np.int64(2)).shape == (1, 2, 2, 2)


def test_clean_data_does_not_set_off_debug_nans():
    with jax.debug_nans(True):
        x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        jax.grad(lambda x: jbackprop.max_pool(jbackprop.leaky_relu(jbackprop.relu(x))).sum())(x)
        jax.grad(jbackprop.softmax_cross_entropy)(jnp.zeros((2, 3)), jnp.array([0, 2]))
