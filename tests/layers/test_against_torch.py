"""A second reference that shares no code with JAX: PyTorch, where it is installed (extra `bench`)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jbackprop

torch = pytest.importorskip("torch", reason="PyTorch, the second reference, is not installed (extra `bench`)")
F = torch.nn.functional


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def nchw(t):
    return t.permute(0, 3, 1, 2)


def nhwc(t):
    return t.permute(0, 2, 3, 1)


def conv(stride=1, padding=0, dilation=1, groups=1):
    def run(x, w, b):
        return nhwc(F.conv2d(nchw(x), w.permute(3, 2, 0, 1), b, stride, padding, dilation, groups))

    return run


def pads(p):
    return ((p, p), (p, p))


IMAGES, KERNEL, BIAS = (2, 7, 6, 4), (3, 2, 4, 6), (6,)
LOGITS, LABELS = (5, 4), np.array([0, 3, 1, 1, 2])

PAIRS = {
    "linear": (jbackprop.linear, lambda x, w, b: F.linear(x, w.T, b), [(3, 4), (4, 2), (2,)]),
    "relu": (jbackprop.relu, F.relu, [(4, 5)]),
    "leaky_relu": (jbackprop.leaky_relu, F.leaky_relu, [(4, 5)]),
    "sigmoid": (jbackprop.sigmoid, torch.sigmoid, [(4, 5)]),
    "tanh": (jbackprop.tanh, torch.tanh, [(4, 5)]),
    "gelu tanh form": (jbackprop.gelu, lambda z: F.gelu(z, approximate="tanh"), [(4, 5)]),
    "gelu exact": (lambda z: jbackprop.gelu(z, False), F.gelu, [(4, 5)]),
    "silu": (jbackprop.silu, F.silu, [(4, 5)]),
    "softplus": (jbackprop.softplus, F.softplus, [(4, 5)]),
    "softmax": (jbackprop.softmax, lambda z: F.softmax(z, -1), [(4, 5)]),
    "log_softmax": (jbackprop.log_softmax, lambda z: F.log_softmax(z, -1), [(4, 5)]),
    **{
        f"softmax_cross_entropy {reduction}": (
            lambda z, r=reduction: jbackprop.softmax_cross_entropy(z, jnp.asarray(LABELS), r),
            lambda z, r=reduction: F.cross_entropy(z, torch.tensor(LABELS), reduction=r),
            [LOGITS],
        )
        for reduction in ("mean", "sum", "none")
    },
    "mean_squared_error": (jbackprop.mean_squared_error, F.mse_loss, [(3, 2), (3, 2)]),
    "squared_error": (jbackprop.squared_error, lambda a, b: F.mse_loss(a, b, reduction="none"), [(3,), (3,)]),
    "conv2d": (jbackprop.conv2d, conv(), [IMAGES, KERNEL, BIAS]),
    "conv2d stride 2, padded": (
        lambda *args: jbackprop.conv2d(*args, stride=2, padding=pads(1)),
        conv(2, 1),
        [IMAGES, KERNEL, BIAS],
    ),
    "conv2d dilated": (lambda *args: jbackprop.conv2d(*args, dilation=2), conv(dilation=2), [IMAGES, KERNEL, BIAS]),
    "conv2d groups": (lambda *args: jbackprop.conv2d(*args, groups=2), conv(groups=2), [IMAGES, (3, 2, 2, 6), BIAS]),
    "max_pool": (jbackprop.max_pool, lambda x: nhwc(F.max_pool2d(nchw(x), 2)), [IMAGES]),
    "max_pool overlapping": (
        lambda x: jbackprop.max_pool(x, 3, 2, pads(1)),
        lambda x: nhwc(F.max_pool2d(nchw(x), 3, 2, 1)),
        [IMAGES],
    ),
    "avg_pool": (jbackprop.avg_pool, lambda x: nhwc(F.avg_pool2d(nchw(x), 2)), [IMAGES]),
    "avg_pool overlapping": (
        lambda x: jbackprop.avg_pool(x, 3, 1, pads(1)),
        lambda x: nhwc(F.avg_pool2d(nchw(x), 3, 1, 1, count_include_pad=False)),
        [IMAGES],
    ),
}


def value_and_cotangents_of_torch(function, arrays, ct):
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    value = function(*tensors)
    value.backward(torch.tensor(ct))
    return value.detach().numpy(), [t.grad.numpy() for t in tensors]


@pytest.mark.parametrize("name", PAIRS)
def test_the_rule_equals_torch_in_float64(name):
    ours, theirs, shapes = PAIRS[name]
    arrays = [draw(i, *shape) for i, shape in enumerate(shapes)]
    with jax.enable_x64(True):
        value, vjp = jax.vjp(ours, *map(jnp.asarray, arrays))
        ct = draw(9, *value.shape)
        cotangents = vjp(jnp.asarray(ct))
    expected, expected_cotangents = value_and_cotangents_of_torch(theirs, arrays, ct)
    for a, b in zip((value, *cotangents), (expected, *expected_cotangents), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_torch_breaks_ties_in_a_max_pool_window_as_we_do():
    x = np.random.default_rng(0).integers(0, 2, (2, 7, 6, 2)).astype(np.float64)
    with jax.enable_x64(True):
        z, vjp = jax.vjp(lambda x: jbackprop.max_pool(x, 3, 2), jnp.asarray(x))
        (dx,) = vjp(jnp.ones_like(z))
    _, (expected,) = value_and_cotangents_of_torch(lambda x: nhwc(F.max_pool2d(nchw(x), 3, 2)), [x], np.ones(z.shape))
    np.testing.assert_array_equal(dx, expected)
