"""Right convolutions, and rules with complex numbers inside."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jbackprop.verify.corpus.right_inputs import normal, normals, row

TWO = ("float32", "float64")


def _circular_convolution(x, k):
    n = x.shape[-1]
    return jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(k, n), n)


circular_convolution = jax.custom_vjp(_circular_convolution)


def circular_convolution_bwd(residuals, dy):
    x, k = residuals
    n = x.shape[-1]
    d = jnp.fft.rfft(dy)
    dx = jnp.fft.irfft(d * jnp.conj(jnp.fft.rfft(k, n)), n)
    dk = jnp.fft.irfft(d * jnp.conj(jnp.fft.rfft(x)), n).sum(0)
    return dx, dk[: k.shape[0]]


circular_convolution.defvjp(lambda x, k: (_circular_convolution(x, k), (x, k)), circular_convolution_bwd)


@jax.custom_vjp
def power_spectrum(z):
    return jnp.real(z) ** 2 + jnp.imag(z) ** 2


# JAX's convention: the gradient of a real function of x + iy is d/dx - i d/dy
power_spectrum.defvjp(
    lambda z: (jnp.real(z) ** 2 + jnp.imag(z) ** 2, z), lambda z, dy: (2 * lax.complex(dy, 0 * dy) * z.conj(),)
)

_conv = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))
_conv_for_kernel = functools.partial(lax.conv_general_dilated, dimension_numbers=("CHWN", "IHWO", "HWNC"))


@jax.custom_vjp
def conv(x, k):
    return _conv(x, k, (1, 1), "VALID")


def conv_bwd(residuals, dy):
    x, k = residuals
    around = [(size - 1, size - 1) for size in k.shape[:2]]
    dx = _conv(dy, k[::-1, ::-1].swapaxes(2, 3), (1, 1), around)
    return dx, _conv_for_kernel(x, dy, (1, 1), "VALID")


conv.defvjp(lambda x, k: (_conv(x, k, (1, 1), "VALID"), (x, k)), conv_bwd)


@jax.custom_vjp
def conv_strided_dilated(x, k):
    return _conv(x, k, (2, 2), "VALID", rhs_dilation=(2, 2))


def conv_strided_dilated_bwd(residuals, dy):
    x, k = residuals
    low = 2 * (k.shape[0] - 1)
    rest = x.shape[1] - 1 - low - 2 * (dy.shape[1] - 1)  # rows at the edge that no window reaches
    wide = x.shape[2] - 1 - low - 2 * (dy.shape[2] - 1)
    around = [(low, low + rest), (low, low + wide)]
    dx = _conv(dy, k[::-1, ::-1].swapaxes(2, 3), (1, 1), around, lhs_dilation=(2, 2), rhs_dilation=(2, 2))
    used = x[:, : x.shape[1] - rest, : x.shape[2] - wide]
    return dx, _conv_for_kernel(used, dy, (2, 2), "VALID", rhs_dilation=(2, 2))


conv_strided_dilated.defvjp(
    lambda x, k: (_conv(x, k, (2, 2), "VALID", rhs_dilation=(2, 2)), (x, k)), conv_strided_dilated_bwd
)


def _conv_depthwise(x, k):
    """A kernel for each channel: groups = channels."""
    return _conv(x, k[:, :, None], (1, 1), "SAME", feature_group_count=x.shape[-1])


conv_depthwise = jax.custom_vjp(_conv_depthwise)


def conv_depthwise_bwd(residuals, dy):
    x, k = residuals
    dx = conv_depthwise(dy, k[::-1, ::-1])
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    h, w = dy.shape[1:3]
    dk = [[jnp.sum(padded[:, i : i + h, j : j + w] * dy, (0, 1, 2)) for j in range(3)] for i in range(3)]
    return dx, jnp.stack([jnp.stack(row) for row in dk])


conv_depthwise.defvjp(lambda x, k: (_conv_depthwise(x, k), (x, k)), conv_depthwise_bwd)


CONVOLUTIONS = (
    row("circular_convolution", "real input, complex inside", circular_convolution, normals((6, 64), (9,)), TWO),
    row(
        "power_spectrum",
        "complex input",
        power_spectrum,
        lambda rng, dtype: (lax.complex(normal(rng, dtype, 200), normal(rng, dtype, 200)),),
        ("float32",),
    ),
    row("conv", "kernel rotated, channels swapped", conv, normals((2, 10, 9, 3), (3, 3, 3, 4)), TWO),
    row(
        "conv_strided_dilated",
        "rows at the edge that no window reaches",
        conv_strided_dilated,
        normals((2, 12, 13, 2), (3, 3, 2, 3)),
        TWO,
    ),
    row("conv_depthwise", "bwd calls the rule itself", conv_depthwise, normals((2, 8, 9, 6), (3, 3, 6)), TWO),
)
