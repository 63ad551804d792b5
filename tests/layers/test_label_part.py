"""The label's part of the gradient of cross-entropy: compared or added at the label, it is the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jbackprop.layers import label_part
from jbackprop.layers.label_part import FEWEST_CLASSES, FEWEST_ELEMENTS, MOST_SMALL, adds_at_label
from jbackprop.layers.softmax_cross_entropy import softmax_cross_entropy


def choose(adds, monkeypatch):
    monkeypatch.setattr(label_part, "adds_at_label", lambda p_dJ, dtype: adds)


def derivatives(logits, labels):
    def gradient(logits, labels):
        return jax.grad(softmax_cross_entropy)(logits, labels)

    batches = jax.vmap(gradient)(jnp.stack([logits, 2 * logits]), jnp.stack([labels, labels[::-1]]))
    second = jax.grad(lambda z: jnp.sum(gradient(z, labels) ** 2))(logits)
    return gradient(logits, labels), batches, second


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 5), (5,), (0, 5)])
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8])
def test_both_formulations_agree_under_every_transform(shape, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 5, shape[:-1]), dtype)
    reduction = "sum"  # an empty batch has no mean
    found = []
    for adds in (False, True):
        choose(adds, monkeypatch)
        gradient = jax.jit(jax.grad(lambda z: softmax_cross_entropy(z, labels, reduction)))
        found.append([gradient(logits), *(derivatives(logits, labels) if len(shape) == 2 and shape[0] else ())])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), *found)


@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("label", [-1, -5, -6, 5, 100])
def test_a_label_that_is_no_class_gives_nan_in_its_row_alone(label, adds, monkeypatch):
    choose(adds, monkeypatch)
    dz = jax.grad(lambda z: softmax_cross_entropy(z, jnp.array([1, label, 2]), "sum"))(jnp.zeros((3, 5)))
    np.testing.assert_array_equal(jnp.isnan(dz), np.array([[False], [True], [False]]) & np.ones(5, bool))


LARGE = (FEWEST_ELEMENTS // FEWEST_CLASSES, FEWEST_CLASSES)


@pytest.mark.parametrize(
    ("shape", "dtype", "backend", "devices", "adds"),
    [
        ((2, MOST_SMALL // 2), jnp.float32, "cpu", 1, True),
        ((2, MOST_SMALL // 2 + 1), jnp.float32, "cpu", 1, False),
        ((2, 1), jnp.float32, "cpu", 2, False),
        ((2, 1), jnp.float32, "gpu", 1, False),
        (LARGE, jnp.float32, "cpu", 1, True),
        (LARGE, jnp.bfloat16, "cpu", 1, False),
        (LARGE, jnp.float32, "cpu", 2, False),
        (LARGE, jnp.float32, "gpu", 1, False),
        ((LARGE[0] - 1, LARGE[1]), jnp.float32, "cpu", 1, False),
        ((2 * LARGE[0], LARGE[1] - 1), jnp.float32, "cpu", 1, False),
    ],
)
def test_the_formulation_follows_size_dtype_and_backend(shape, dtype, backend, devices, adds, monkeypatch):
    like = jnp.ones(shape)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert adds_at_label(like, dtype) == adds


def test_it_is_compared_where_the_batch_is_symbolic_or_split():
    (n,) = export.symbolic_shape("n")
    found = []
    jax.eval_shape(lambda z: found.append(adds_at_label(z, z.dtype)), jax.ShapeDtypeStruct((n, 3), jnp.float32))
    mesh = AbstractMesh((2,), ("rows",), axis_types=(AxisType.Explicit,))
    split = jax.ShapeDtypeStruct((4, 3), jnp.float32, sharding=NamedSharding(mesh, P("rows", None)))
    with jax.sharding.use_abstract_mesh(mesh):
        jax.eval_shape(lambda z: found.append(adds_at_label(z, z.dtype)), split)
    assert found == [False, False]
