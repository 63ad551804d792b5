"""The input's cotangent of few channels: one product, or the convolution with the rotated kernel: it is the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.layers import conv2d as module
from jbackprop.layers.conv2d import conv2d
from jbackprop.layers.conv2d_of_images import MOST_CHANNELS, has_few_channels
from jbackprop.layers.windows import spatial_axes

OPTIONS = {
    "plain": {},
    "stride with a remainder": {"stride": (2, 3)},
    "padded and dilated": {"padding": ((1, 2), (0, 3)), "dilation": (2, 1)},
    "padded beyond the kernel": {"padding": ((4, 3), (3, 5)), "stride": 2},
    "SAME": {"padding": "SAME"},
}


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("in_blocks", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_both_formulations_agree_under_every_transform(name, in_blocks, monkeypatch):
    if in_blocks:
        monkeypatch.setattr(module, "CACHE_BYTES", 1)
        monkeypatch.setattr(module, "LEAST_BYTES", 0)

    def gradient(x, w):
        return jax.grad(lambda x: jnp.sum(jnp.sin(conv2d(x, w, None, **OPTIONS[name]))))(x)

    def derivatives(x, w):
        batches = jax.vmap(gradient, (0, None))(jnp.stack([x, 2 * x]), w)
        return gradient(x, w), batches, jax.grad(lambda x, w: jnp.sum(gradient(x, w) ** 2), (0, 1))(x, w)

    found = []
    with jax.enable_x64(True):
        x, w = draw(0, 4, 7, 6, 2), draw(1, 3, 2, 2, 12)
        for few in (True, False):
            monkeypatch.setattr(module, "has_few_channels", lambda *_, few=few: few)
            found.append(jax.jit(lambda x, w: derivatives(x, w))(x, w))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), *found)


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "backend", "devices", "few"),
    [
        ((5, 5, 1, 32), 1, 1, "cpu", 1, True),
        ((3, 3, 3, 64), 1, 1, "cpu", 1, True),
        ((5, 5, 3, 32), 1, 1, "cpu", 1, False),
        ((5, 5, 1, 25), 1, 1, "cpu", 1, True),
        ((5, 5, 1, 24), 1, 1, "cpu", 1, False),
        ((1, 1, MOST_CHANNELS + 1, 64), 1, 1, "cpu", 1, False),
        ((5, 5, 1, 64), 1, 2, "cpu", 1, False),
        ((5, 5, 1, 32), 1, 1, "cpu", 2, False),
        ((5, 5, 1, 32), 1, 1, "gpu", 1, False),
        ((4, 4, 3, 64), 4, 1, "cpu", 1, False),
        ((5, 5, 1, 32), (1, 2), 1, "cpu", 1, False),
    ],
)
def test_the_product_is_for_images_on_one_cpu(kernel, stride, groups, backend, devices, few, monkeypatch):
    dy, w = jnp.ones((2, 4, 4, kernel[-1])), jnp.ones(kernel)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    axes = spatial_axes("conv2d", (12, 12), kernel[:2], stride, "SAME", 1)
    assert has_few_channels(dy, w, axes, groups) == few


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_sums_of_half_precision_are_carried_in_float32(dtype):
    x, w = draw(0, 2, 9, 9, 1).astype(dtype), draw(1, 3, 3, 1, 32).astype(dtype)
    dx = jax.grad(lambda x, w: conv2d(x, w).astype(jnp.float32).sum())(x, w)
    exact = jax.grad(lambda x: conv2d(x, w.astype(jnp.float32)).sum())(x.astype(jnp.float32))
    assert dx.dtype == dtype
    np.testing.assert_array_equal(dx, exact.astype(dtype))
