"""Two-dimensional convolution (cross-correlation, as every network library has it) in NHWC and HWIO."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype
from jbackprop.layers.conv2d_of_images import has_few_channels, input_cotangent_of_images
from jbackprop.layers.one_cpu import on_one_cpu
from jbackprop.layers.precision import accumulation_dtype, sum_leading, widen
from jbackprop.layers.sharding import cotangent_of, explicit_sharding
from jbackprop.layers.static_arguments import custom_vjp_with_static
from jbackprop.layers.windows import Axis, Padding, Pair, spatial_axes

CACHE_BYTES, LEAST_BYTES = 2**20, 2**17  # of x and dy together


class Residuals(NamedTuple):
    """`x` and `w`, which the two products read; of the bias only whether there is one (no bytes)."""

    x: Float[Array, "*n h w i"]
    w: Float[Array, "p q j o"]
    bias_marker: Float[Array, "0"] | None


@custom_vjp_with_static(3, 4, 5, 6)
def conv2d(
    x: Float[Array, "*n h w i"],
    w: Float[Array, "p q j o"],
    b: Float[Array, " o"] | None = None,
    stride: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
) -> Float[Array, "*n u v o"]:
    r"""Returns $y = x \star w + b$: $y_{uvo} = \sum_{pqi} x_{u+p,\,v+q,\,i}\; w_{pqio} + b_o$ for each example.

    With $\star$ the valid cross-correlation over height and width, and examples and channels summed as in a matrix
    product,

    $$dx = \mathrm{pad}(dy) \star \mathrm{rot180}(w)^{io \to oi} \qquad
      dw = x \star dy \text{ (examples in the place of channels)} \qquad db = \textstyle\sum_{nuv} dy_{nuv}$$

    A stride s spreads `dy` apart by s in both products; a dilation d spreads `w` apart in dx and is the stride of dw;
    under `groups` g the channels fall into g blocks that never meet. One example, one channel and no options give
    JACOBIAN's $Z = X \star K$.

    Shapes: `x` `(*n, h, w, i)`, `w` `(p, q, i / groups, o)`, `b` `(o,)` or None, `y` `(*n, u, v, o)` with
    u = (h + padding - dilation (p - 1) - 1) // stride + 1. One real floating dtype for all; sums are carried in float32
    at least. `stride` and `dilation` are an integer or (height, width), `padding` is "VALID", "SAME" or
    ((top, bottom), (left, right)); all static.
    Residuals: `x` and `w`.
    Raises: ValueError for shapes that do not fit, TypeError for integers (images: cast to float and scale them) and for
    dtypes that differ.
    Source: JACOBIAN.

    >>> import jax, jax.numpy as jnp
    >>> x, w = jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1))
    >>> jax.grad(lambda x: conv2d(x, w).sum())(x)[0, :, :, 0].tolist()
    [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    return conv2d_fwd(x, w, b, stride, padding, dilation, groups)[0]


def conv2d_fwd(
    x: Float[Array, "*n h w i"],
    w: Float[Array, "p q j o"],
    b: Float[Array, " o"] | None = None,
    stride: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
) -> tuple[Float[Array, "*n u v o"], Residuals]:
    dtype = _check(x, w, b, groups)
    x, w = jnp.asarray(x), jnp.asarray(w)
    rows, columns = _axes(x, w, stride, padding, dilation)
    y = _correlate(
        _one_batch(x),
        w,
        padding=((rows.low, rows.high), (columns.low, columns.high)),
        stride=(rows.stride, columns.stride),
        w_spacing=(rows.dilation, columns.dilation),
        groups=groups,
    )
    if b is not None:
        y = y + widen(b)
    y = y.astype(dtype).reshape(*x.shape[:-3], *y.shape[1:])
    return y, Residuals(x, w, None if b is None else jnp.asarray(b)[:0])


def conv2d_bwd(
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    residuals: Residuals,
    dy: Float[Array, "*n u v o"],
) -> tuple[Float[Array, "*n h w i"], Float[Array, "p q j o"], Float[Array, " o"] | None]:
    x, w, bias_marker = residuals
    axes = _axes(x, w, stride, padding, dilation)
    dx = cotangent_of(x, _input_cotangent(_one_batch(x), _one_batch(dy), w, axes, groups).reshape(x.shape))
    dw = cotangent_of(w, _sum_over_blocks(_one_batch(x), _one_batch(dy), w, axes, groups))
    db = None if bias_marker is None else sum_leading(dy, cotangent_for=bias_marker)
    return dx, dw, db


conv2d.defvjp(conv2d_fwd, conv2d_bwd)


def _input_cotangent(x: Array, dy: Array, w: Array, axes: tuple[Axis, Axis], groups: int) -> Array:
    """dx = pad(dy) ⋆ rot180(w), with the input and output channels of each group exchanged."""
    lows = [(a.window - 1) * a.dilation - a.low for a in axes]
    highs = [a.size - 1 - (a.outputs - 1) * a.stride + a.low for a in axes]
    reach = ((lows[0], highs[0]), (lows[1], highs[1]))
    if has_few_channels(dy, w, axes, groups):
        return input_cotangent_of_images(dy, w, axes, reach, examples_at_once(x, dy))
    p, q, j, o = w.shape
    rot180 = w[::-1, ::-1].reshape(p, q, j, groups, o // groups)
    exchanged = rot180.transpose(0, 1, 4, 3, 2).reshape(p, q, o // groups, groups * j)
    return _correlate(
        dy,
        exchanged,
        padding=reach,
        x_spacing=tuple(a.stride for a in axes),
        w_spacing=tuple(a.dilation for a in axes),
        groups=groups,
    )


def _sum_over_blocks(x: Array, dy: Array, w: Array, axes: tuple[Axis, Axis], groups: int) -> Array:
    """dw, summed over blocks of examples; in one block it is the formula as it stands."""
    block = examples_at_once(x, dy)
    if block is None:
        return _kernel_cotangent(x, dy, w, axes, groups)

    def of_block(i) -> Array:
        some_x, some_dy = (jax.lax.dynamic_slice_in_dim(a, i * block, block) for a in (x, dy))
        return _kernel_cotangent(some_x, some_dy, w, axes, groups)

    return jax.lax.fori_loop(1, len(x) // block, lambda i, dw: dw + of_block(i), of_block(0))


def examples_at_once(x: Array, dy: Array) -> int | None:
    """Returns how many examples dw takes at once, None for all: on one CPU as many as stay in its cache.

    The sum runs over all examples and positions, and XLA's CPU backend takes up to three times as long for it where
    they do not fit the cache. The products that dx of images is made of are taken in the same blocks.
    """
    if not on_one_cpu(x, dy):
        return None
    n, bytes_of_all = len(x), x.size * x.dtype.itemsize + dy.size * dy.dtype.itemsize
    if bytes_of_all <= CACHE_BYTES:
        return None
    blocks = [block for block in range(1, n // 4 + 1) if n % block == 0 and block * bytes_of_all <= n * CACHE_BYTES]
    block = max(blocks, default=1)
    return block if block * bytes_of_all >= n * LEAST_BYTES else None  # each turn of a loop costs, too


def _kernel_cotangent(x: Array, dy: Array, w: Array, axes: tuple[Axis, Axis], groups: int) -> Array:
    """dw = x ⋆ dy, with the examples in the place of the channels that are summed over."""
    highs = [(a.outputs - 1) * a.stride + (a.window - 1) * a.dilation + 1 - a.size - a.low for a in axes]
    dw = _correlate(
        x.transpose(3, 1, 2, 0),
        dy.transpose(1, 2, 0, 3),
        padding=tuple((a.low, high) for a, high in zip(axes, highs, strict=True)),
        stride=tuple(a.dilation for a in axes),
        w_spacing=tuple(a.stride for a in axes),
        batch_groups=groups,
        out_sharding=explicit_sharding(w),  # in any order, since JAX convolves with no w whose axes are split
    )
    return dw.transpose(1, 2, 0, 3)


def _correlate(
    x, w, padding, w_spacing, stride=(1, 1), x_spacing=(1, 1), groups=1, batch_groups=1, out_sharding=None
) -> Array:
    """Cross-correlation of NHWC with HWIO, summed in float32 at least."""
    return jax.lax.conv_general_dilated(
        x,
        w,
        window_strides=stride,
        padding=padding,
        lhs_dilation=x_spacing,
        rhs_dilation=w_spacing,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        batch_group_count=batch_groups,
        preferred_element_type=accumulation_dtype(jnp.result_type(x)),
        out_sharding=out_sharding,
    )


def _one_batch(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])


def _axes(x: Array, w: Array, stride: Pair, padding: Padding, dilation: Pair) -> tuple[Axis, Axis]:
    return spatial_axes("conv2d", (x.shape[-3], x.shape[-2]), (w.shape[0], w.shape[1]), stride, padding, dilation)


def _check(x, w, b, groups: int) -> np.dtype:
    dtype = shared_float_dtype("conv2d", optional=("b",), x=x, w=w, b=b)
    shapes = f"(x {jnp.shape(x)}, w {jnp.shape(w)})"
    if jnp.ndim(x) < 3 or jnp.ndim(w) != 4:
        raise ValueError(f"conv2d: x must be (*n, height, width, channels) and w (p, q, i / groups, o) {shapes}")
    i, (p, q, j, o) = jnp.shape(x)[-1], jnp.shape(w)
    if not isinstance(groups, int | np.integer) or groups < 1 or o % groups or i % groups:
        raise ValueError(
            f"conv2d: groups is {groups!r} but must divide the {i} input and the {o} output channels {shapes}"
        )
    if i != j * groups:
        raise ValueError(
            f"conv2d: x has {i} channels but w expects {j} x {groups} group{'s' if groups > 1 else ''} {shapes}: "
            f"the third axis of w is the channels of x divided by groups"
        )
    if min(p, q) == 0:
        raise ValueError(f"conv2d: the kernel is empty {shapes}: its height and width must be 1 at least")
    if b is not None and jnp.shape(b) != (o,):
        raise ValueError(
            f"conv2d: b has shape {jnp.shape(b)} but w {jnp.shape(w)} gives {o} channels: one bias for each"
        )
    return dtype
