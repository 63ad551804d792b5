"""Wrong rules of convolutions and filters."""

import jax.numpy as jnp
from jax import lax

from jbackprop.verify.corpus.case import WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, normal, rule

_IMAGES = (4, 9, 9, 6)
_KERNEL = (3, 3, 6, 6)


def convolution(x, k):
    return lax.conv_general_dilated(x, k, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _dx(dy, k):
    return lax.conv_general_dilated(dy, k, (1, 1), [(2, 2), (2, 2)], dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _dk(x, dy):
    return lax.conv_general_dilated(x, dy, (1, 1), "VALID", dimension_numbers=("CHWN", "IHWO", "HWNC"))


def _rotated(k):
    return jnp.flip(k, (0, 1))


def convolution_with_bias(x, k, b):
    return convolution(x, k) + b


def _bias_mean_bwd(dy, x, k, b):
    return _dx(dy, _rotated(k).swapaxes(2, 3)), _dk(x, dy), dy.mean((1, 2)).sum(0)


def strided_signal(x, k):
    """A stride of 2 over 30 samples: the last one is not read."""
    return x[:, 0:28:2] * k[0] + x[:, 1:29:2] * k[1] + x[:, 2:30:2] * k[2]


def _strided_bwd(dy, x, k):
    taps = [dy * k[u] for u in range(3)]
    dx = sum(jnp.zeros_like(x).at[:, u + 1 : u + 29 : 2].add(tap) for u, tap in enumerate(taps))
    return dx, jnp.stack([(x[:, u : u + 28 : 2] * dy).sum() for u in range(3)])


def dilated_signal(x, k):
    return x[:, :-4] * k[0] + x[:, 2:-2] * k[1] + x[:, 4:] * k[2]


def _undilated_bwd(dy, x, k):
    n = dy.shape[1]
    dx = sum(jnp.zeros_like(x).at[:, u : u + n].add(dy * k[u]) for u in range(3))
    return dx, jnp.stack([(x[:, 2 * u : 2 * u + n] * dy).sum() for u in range(3)])


def filtered(x, taps):
    return jnp.convolve(x, taps, mode="valid")


def causal_filter(x, taps):
    return jnp.convolve(x, taps)[: x.size]


def depthwise(x, k):
    return sum(x[:, u : x.shape[1] - 2 + u] * k[u] for u in range(3))


def _depthwise_bwd(dy, x, k):
    n = dy.shape[1]
    dx = sum(jnp.zeros_like(x).at[:, u : u + n].add(dy * k[u]) for u in range(3))
    dk = jnp.stack([(x[:, u : u + n] * dy).sum() for u in range(3)])
    return dx, jnp.broadcast_to(dk[:, None], k.shape)


def circular_convolution(x, k):
    return jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(k), n=x.shape[-1])


def _circular_bwd(dy, x, k):
    dk = jnp.fft.irfft(jnp.fft.rfft(dy) * jnp.conj(jnp.fft.rfft(x)), n=x.shape[-1])
    return circular_convolution(dy, k), dk.sum(0)


CONVOLUTION = (
    WrongRule(
        "convolution: the kernel is not rotated",
        "wrong point",
        ("x",),
        normal(rule(convolution, lambda dy, x, k: (_dx(dy, k.swapaxes(2, 3)), _dk(x, dy))), _IMAGES, _KERNEL),
    ),
    WrongRule(
        "convolution: channels in and out not exchanged",
        "wrong point",
        ("x",),
        normal(rule(convolution, lambda dy, x, k: (_dx(dy, _rotated(k)), _dk(x, dy))), _IMAGES, _KERNEL),
    ),
    WrongRule(
        "convolution: dk rotated by 180 degrees",
        "flipped",
        ("k",),
        normal(
            rule(convolution, lambda dy, x, k: (_dx(dy, _rotated(k).swapaxes(2, 3)), _rotated(_dk(x, dy)))),
            _IMAGES,
            _KERNEL,
        ),
    ),
    WrongRule(
        "convolution: the bias has the mean over the image",
        "factor",
        ("b",),
        normal(rule(convolution_with_bias, _bias_mean_bwd), _IMAGES, _KERNEL, (6,)),
    ),
    WrongRule(
        "strided convolution: the sample that no window reads is put in front",
        "permuted",
        ("x",),
        normal(rule(strided_signal, _strided_bwd), (20, 30), (3,)),
    ),
    WrongRule(
        "dilated convolution: dx without the dilation",
        "unexplained",
        ("x",),
        normal(rule(dilated_signal, _undilated_bwd), (20, 30), (3,)),
    ),
    WrongRule(
        "filter: its cotangent is in the order of correlation",
        "flipped",
        ("taps",),
        normal(
            rule(
                filtered, lambda dy, x, taps: (jnp.correlate(dy, taps, mode="full"), jnp.correlate(x, dy, mode="valid"))
            ),
            (400,),
            (7,),
        ),
    ),
    WrongRule(
        "causal filter: the same filter backward",
        "wrong point",
        ("x",),
        normal(
            rule(
                causal_filter,
                lambda dy, x, taps: (
                    causal_filter(dy, taps),
                    jnp.stack([x[: x.size - u] @ dy[u:] for u in range(taps.size)]),
                ),
            ),
            (400,),
            (5,),
        ),
    ),
    WrongRule(
        "depthwise convolution: one kernel's cotangent for all channels",
        "extra sum",
        ("k",),
        normal(rule(depthwise, _depthwise_bwd), (8, 20, 12), (3, 12)),
    ),
    WrongRule(
        "circular convolution: no complex conjugate",
        "wrong point",
        ("x",),
        normal(rule(circular_convolution, _circular_bwd), (10, 32), (32,)),
        dtypes=EXACT,
    ),
)
