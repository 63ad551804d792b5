"""The label's part of the gradient of cross-entropy: scattered or compared, it is the same."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jbackprop.layers.softmax_cross_entropy import MOST_SCATTERED, scatters, softmax_cross_entropy

ON_ONE_CPU = jax.default_backend() == "cpu" and jax.device_count() == 1
module = sys.modules[softmax_cross_entropy.__module__]


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
    for most in (MOST_SCATTERED, -1):
        monkeypatch.setattr(module, "MOST_SCATTERED", most)
        assert scatters(logits) == (most > 0 and ON_ONE_CPU)
        gradient = jax.jit(jax.grad(lambda z: softmax_cross_entropy(z, labels, reduction)))
        found.append([gradient(logits), *(derivatives(logits, labels) if len(shape) == 2 and shape[0] else ())])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), *found)


@pytest.mark.parametrize("most", [MOST_SCATTERED, -1])
@pytest.mark.parametrize("label", [-1, -5, -6, 5, 100])
def test_a_label_that_is_no_class_gives_nan_in_its_row_alone(label, most, monkeypatch):
    monkeypatch.setattr(module, "MOST_SCATTERED", most)
    dz = jax.grad(lambda z: softmax_cross_entropy(z, jnp.array([1, label, 2]), "sum"))(jnp.zeros((3, 5)))
    np.testing.assert_array_equal(jnp.isnan(dz), np.array([[False], [True], [False]]) & np.ones(5, bool))


@pytest.mark.parametrize(
    ("columns", "backend", "devices", "answer"),
    [
        (MOST_SCATTERED // 2, "cpu", 1, True),
        (MOST_SCATTERED // 2 + 1, "cpu", 1, False),
        (1, "cpu", 2, False),
        (1, "gpu", 1, False),
    ],
)
def test_a_small_array_on_one_cpu_is_scattered_into(columns, backend, devices, answer, monkeypatch):
    like = jnp.ones((2, columns))
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert scatters(like) == answer


def test_it_is_compared_where_the_batch_is_symbolic_or_split():
    (n,) = export.symbolic_shape("n")
    found = []
    jax.eval_shape(lambda z: found.append(scatters(z)), jax.ShapeDtypeStruct((n, 3), jnp.float32))
    mesh = AbstractMesh((2,), ("rows",), axis_types=(AxisType.Explicit,))
    split = jax.ShapeDtypeStruct((4, 3), jnp.float32, sharding=NamedSharding(mesh, P("rows", None)))
    with jax.sharding.use_abstract_mesh(mesh):
        jax.eval_shape(lambda z: found.append(scatters(z)), split)
    assert found == [False, False]
