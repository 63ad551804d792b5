"""The input's cotangent of a convolution of few channels: one matrix product, its parts added where they came from."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.one_cpu import on_one_cpu
from jbackprop.layers.precision import accumulation_dtype
from jbackprop.layers.windows import Axis

MOST_CHANNELS = 3
Reach = tuple[tuple[int, int], tuple[int, int]]


def has_few_channels(dy: Array, w: Float[Array, "p q j o"], axes: tuple[Axis, Axis], groups: int) -> bool:
    """Whether dx is taken by `input_cotangent_of_images`: on one CPU, of images whose products are no more than dy.

    XLA's CPU backend takes two to three times as long for the convolution with the rotated kernel, which has as few
    output channels as the image has channels. A stride would spread the products apart and take more than it gives.
    """
    p, q, i, o = w.shape
    plain = groups == 1 and all(axis.stride == 1 for axis in axes)
    return plain and i <= MOST_CHANNELS and p * q * i <= o and on_one_cpu(dy, w)


def input_cotangent_of_images(
    dy: Float[Array, "n u v o"], w: Float[Array, "p q i o"], axes: tuple[Axis, Axis], reach: Reach, block: int | None
) -> Float[Array, "n h w i"]:
    r"""Returns $dx_{nhwi} = \sum_{pq} G_{pqi,n,h-p,w-q}$ with $G = w\, dy$ summed over the channels o, block by block.

    A stride spreads `G` apart and a dilation the offsets p and q; `reach` is the padding of dy that dx needs.
    """
    if block is None:
        return _of_block(dy, w, axes, reach)
    blocks = dy.reshape(len(dy) // block, block, *dy.shape[1:])
    dx = jax.lax.map(lambda some: _of_block(some, w, axes, reach), blocks)
    return dx.reshape(len(dy), *dx.shape[2:])


def _of_block(dy: Array, w: Array, axes: tuple[Axis, Axis], reach: Reach) -> Array:
    rows, columns = axes
    p, q, i, o = w.shape
    over_o = (((1,), (1,)), ((), ()))
    sums_in = accumulation_dtype(jnp.result_type(dy))
    products = jax.lax.dot_general(w.reshape(-1, o), dy.reshape(-1, o), over_o, preferred_element_type=sums_in)
    spread = [(low, high, axis.stride - 1) for (low, high), axis in zip(reach, axes, strict=True)]
    G = jax.lax.pad(products.reshape(p, q, i, *dy.shape[:-1]), jnp.zeros((), products.dtype), [(0, 0, 0)] * 4 + spread)

    def part(row: int, column: int) -> Array:
        top, left = (p - 1 - row) * rows.dilation, (q - 1 - column) * columns.dilation
        return G[row, column, :, :, top : top + rows.size, left : left + columns.size]

    dx = sum((part(row, column) for row in range(p) for column in range(q)), jnp.zeros((), G.dtype))
    return jnp.moveaxis(dx, 0, -1)
