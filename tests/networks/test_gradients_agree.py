"""Explicit, by rules, automatic: one gradient, checked against plain JAX and finite differences as well."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.verify.automatic import automatic
from jbackprop.verify.network_cases import NETWORKS, network_case

from .references import REFERENCES

NAMES = [case.name for case in NETWORKS]
STEP = 1e-6


def normal(seed, tree, leading=()):
    """Numbers in the shapes and dtypes of `tree`: normal ones, and integers below 5, which every classifier here knows.

    From NumPy, since compiling JAX's generators, and single operations outside `jit`, takes longer than all the rest.
    """
    generator = np.random.default_rng(seed)

    def draw(leaf):
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.asarray(generator.integers(0, 5, leaf.shape).astype(leaf.dtype))
        # About the size of initial weights, so that nothing saturates; biases too, which start at zero, where a
        # gradient that ignores them would pass.
        scale = max(leaf.shape[-2:-1] or leaf.shape or (1,)) ** -0.5
        return jnp.asarray((scale * generator.standard_normal((*leading, *leaf.shape))).astype(leaf.dtype))

    return jax.tree.map(draw, tree)


def example(case, dtype):
    key = jax.random.key(0)
    params, batch = jax.eval_shape(lambda: (case.params(key, dtype), case.batch(key, dtype)))
    return normal(0, params), normal(1, batch)


def along(loss, params, batch, directions):
    """Returns the finite difference of the loss in each of several directions."""

    def difference(direction):
        above = jax.tree.map(lambda p, d: p + STEP * d, params, direction)
        below = jax.tree.map(lambda p, d: p - STEP * d, params, direction)
        return (loss(above, *batch) - loss(below, *batch)) / (2 * STEP)

    return jax.vmap(difference)(directions)


@functools.cache
def computed(name, dtype):
    """One compilation gives everything that the tests of this file compare."""
    case = network_case(name)

    def everything(params, batch, directions):
        found = {
            "explicit": case.loss_and_grads(params, *batch),
            "rules": jax.value_and_grad(case.loss)(params, *batch),
            "automatic": jax.value_and_grad(automatic(case.loss))(params, *batch),
        }
        if dtype == "float64":
            found["plain"] = jax.value_and_grad(REFERENCES[name])(params, *batch)
            found["differences"] = along(case.loss, params, batch, directions)
        return found

    with jax.enable_x64(dtype == "float64"):
        params, batch = example(case, dtype)
        directions = normal(1, params, leading=(4,))
        return jax.tree.map(np.asarray, {"directions": directions, **jax.jit(everything)(params, batch, directions)})


def assert_leaves_close(found, wanted, bound):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for (path, a), b in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        name = jax.tree_util.keystr(path)
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), name
        assert np.abs(b).max() > 0, f"{name}: a gradient of zeros shows nothing"
        assert np.abs(a - b).max() <= bound * np.abs(b).max(), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-6), ("float64", 1e-14)])
def test_three_gradients_agree(name, dtype, bound):
    found = computed(name, dtype)
    assert_leaves_close(found["explicit"], found["automatic"], bound)
    assert_leaves_close(found["rules"], found["automatic"], bound)


@pytest.mark.parametrize("name", NAMES)
def test_plain_jax_gives_the_same_loss_and_gradient(name):
    found = computed(name, "float64")
    assert_leaves_close(found["explicit"], found["plain"], 1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_finite_differences_give_the_same_gradient(name):
    found = computed(name, "float64")
    directions, grads = map(jax.tree.leaves, (found["directions"], found["explicit"][1]))
    slopes = sum(
        np.einsum("dn,n->d", np.reshape(d, (4, -1)), np.ravel(g)) for d, g in zip(directions, grads, strict=True)
    )
    assert np.abs(slopes - found["differences"]).max() < 1e-6 * np.abs(slopes).max()


def test_every_network_has_a_reference_and_a_name_of_its_own():
    assert sorted(REFERENCES) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_a_module_name_finds_its_plain_form():
    modules = ("regression", "two_layer", "mlp", "deep", "cnn", "graph")
    plain = ["regression", "two_layer", "mlp", "deep", "cnn_max", "graph_residual"]
    assert [network_case(name).name for name in modules] == plain
    with pytest.raises(ValueError, match=r"network_case: 'transformer' is unknown: choose one of regression, "):
        network_case("transformer")
