"""The kernel's cotangent, summed over blocks of examples where they do not fit the cache, and over all at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jbackprop.layers import conv2d as module
from jbackprop.layers.conv2d import conv2d, examples_at_once

KERNELS = {
    "stride with a remainder": ((3, 2, 2, 3), {"stride": 2}, 1),
    "padded and dilated": ((2, 3, 2, 2), {"padding": ((1, 2), (0, 1)), "dilation": (2, 1)}, 2),
    "groups": ((2, 2, 1, 4), {"padding": "SAME", "groups": 2}, 2),
}


@pytest.fixture
def tiny_cache(monkeypatch):
    monkeypatch.setattr(module, "CACHE_BYTES", 1)
    monkeypatch.setattr(module, "LEAST_BYTES", 0)


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def transformed(options):
    """Returns value, cotangents, those of several batches, and a derivative of the cotangents, of `(x, w)`."""

    def gradient(x, w):
        return jax.grad(lambda x, w: jnp.sum(jnp.sin(conv2d(x, w, None, **options))), (0, 1))(x, w)

    def derivatives(x, w):
        value = conv2d(x, w, None, **options)
        batches = jax.vmap(gradient, (0, None))(jnp.stack([x, 2 * x]), w)
        return value, gradient(x, w), batches, jax.grad(lambda w: jnp.sum(gradient(x, w)[1] ** 2))(w)

    return jax.jit(derivatives)


@pytest.mark.parametrize("name", KERNELS)
def test_blocks_add_up_to_the_sum_over_all_examples_under_every_transform(name, monkeypatch):
    shape, options, block = KERNELS[name]
    with jax.enable_x64(True):
        x, w = draw(0, 8, 6, 5, 2), draw(1, *shape)
        at_once = transformed(options)(x, w)
        monkeypatch.setattr(module, "CACHE_BYTES", 2 * x.nbytes * block // len(x))
        monkeypatch.setattr(module, "LEAST_BYTES", 0)
        assert examples_at_once(x, x) == block
        in_blocks = transformed(options)(x, w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), in_blocks, at_once)


@pytest.mark.parametrize(
    ("x", "dy", "block"),
    [
        ((64, 28, 28, 32), (64, 28, 28, 64), 2),  # 2 x 294 KiB of 1 MiB, and a divisor of 64
        ((64, 14, 14, 32), (64, 14, 14, 64), 8),
        ((2, 56, 56, 64), (2, 56, 56, 128), 1),  # one alone is more than that
        ((8, 14, 14, 32), (8, 14, 14, 64), None),  # all fit
        ((61, 14, 14, 16), (61, 14, 14, 32), None),  # no divisor but 1, and one is not worth a turn of the loop
        ((0, 14, 14, 32), (0, 14, 14, 64), None),
        ((8, 128, 128, 1), (8, 128, 128, 1), None),  # exactly 1 MiB in all
        ((8, 256, 256, 1), (8, 256, 256, 1), 2),  # exactly 1 MiB in a block
        ((13, 128, 128, 1), (13, 128, 128, 1), 1),  # exactly 128 KiB in a block, which is just worth it
        ((12, 128, 128, 1), (12, 128, 128, 2), 3),  # 4 would fit, and make fewer than four turns
    ],
)
def test_a_block_is_a_divisor_of_the_batch_that_fits_the_cache(x, dy, block):
    found = []
    jax.eval_shape(
        lambda x, dy: found.append(examples_at_once(x, dy)),
        *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (x, dy)),
    )
    assert found == [block]


@pytest.mark.usefixtures("tiny_cache")
@pytest.mark.parametrize(
    ("backend", "devices", "block"), [("cpu", 1, 1), ("cpu", 2, None), ("gpu", 1, None), ("gpu", 2, None)]
)
def test_blocks_are_for_one_cpu(backend, devices, block, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert examples_at_once(jnp.ones((8, 3, 3, 1)), jnp.ones((8, 3, 3, 1))) == block


@pytest.mark.usefixtures("tiny_cache")
def test_examples_that_are_split_among_devices_are_taken_at_once():
    mesh = AbstractMesh((2,), ("rows",), axis_types=(AxisType.Explicit,))
    x, w = (
        jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, P(*axes)))
        for shape, axes in (((4, 5, 5, 2), ("rows", None, None, None)), ((2, 2, 2, 3), (None, None, None, None)))
    )
    with jax.sharding.use_abstract_mesh(mesh):
        program = jax.make_jaxpr(jax.grad(lambda w, x: conv2d(x, w).sum()))(w, x)
    assert "while" not in str(program)
    assert "scan" not in str(program)


@pytest.mark.usefixtures("tiny_cache")
def test_blocks_of_the_share_of_a_device_add_up_to_its_share():
    split = jax.shard_map(
        lambda x, w: jax.grad(lambda w: conv2d(x, w).sum())(w),
        mesh=AbstractMesh((2,), ("data",), axis_types=(AxisType.Auto,)),
        in_specs=(P("data"), P()),
        out_specs=P(),
    )
    program = str(jax.make_jaxpr(split)(jnp.ones((8, 5, 5, 2)), jnp.ones((2, 2, 2, 3))))
    assert "psum" in program
    assert "scan" in program


@pytest.mark.usefixtures("tiny_cache")
def test_a_symbolic_batch_is_exported():
    (n,) = jax.export.symbolic_shape("n")
    x = jax.ShapeDtypeStruct((n, 4, 4, 1), jnp.float32)
    exported = jax.export.export(jax.jit(jax.grad(lambda w, x: conv2d(x, w).sum())))(jnp.ones((2, 2, 1, 2)), x)
    np.testing.assert_array_equal(exported.call(jnp.ones((2, 2, 1, 2)), jnp.ones((3, 4, 4, 1))), 27.0)
