"""Average pooling: nothing to remember but the shape."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype
from jbackprop.layers.max_pool import pooling_axes
from jbackprop.layers.precision import widen
from jbackprop.layers.static_arguments import custom_vjp_with_static
from jbackprop.layers.windows import (
    Axis,
    Padding,
    Pair,
    at_offset,
    offsets_of_elements,
    over_elements,
    pad,
    real_offsets,
    windows_around,
    windows_per_element,
)


class Residuals(NamedTuple):
    """No bytes: the height and width of x, as an array of no elements."""

    shape_marker: Float[Array, "h w 0"]


@custom_vjp_with_static(1, 2, 3)
def avg_pool(
    x: Float[Array, "*n h w c"], window: Pair = 2, stride: Pair | None = None, padding: Padding = "VALID"
) -> Float[Array, "*n u v c"]:
    r"""Returns $z_{uv} = \frac{1}{k_{uv}} \sum_{ij \in \text{window}_{uv}} x_{ij}$ for each channel.

    $$dx_{ij} = \sum_{uv \ni ij} dz_{uv} / k_{uv}$$

    $k_{uv}$ counts the elements of the window, padding left out (as `flax.linen.avg_pool(count_include_pad=False)`): it
    is $k^2$ in a full square window. Windows that overlap add; JACOBIAN's formula shows one window an element.

    Shapes, options and errors: as `max_pool`; sums are carried in float32 at least.
    Residuals: nothing but the shape.
    Source: JACOBIAN.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.array([[1.0, 5.0], [5.0, 1.0]])[:, :, None]
    >>> avg_pool(x).item(), jax.grad(lambda x: avg_pool(x).sum())(x)[:, :, 0].tolist()
    (3.0, [[0.25, 0.25], [0.25, 0.25]])
    """
    return avg_pool_fwd(x, window, stride, padding)[0]


def avg_pool_fwd(
    x: Float[Array, "*n h w c"], window: Pair = 2, stride: Pair | None = None, padding: Padding = "VALID"
) -> tuple[Float[Array, "*n u v c"], Residuals]:
    dtype = shared_float_dtype("avg_pool", x=x)
    rows, columns = pooling_axes("avg_pool", jnp.shape(x), window, stride, padding)
    total = _window_sums(_window_sums(widen(x), columns, along=-2), rows, along=-3)
    z = total / _counts(rows, columns).astype(total.dtype)
    return z.astype(dtype), Residuals(jnp.zeros((rows.size, columns.size, 0), dtype))


def avg_pool_bwd(
    window: Pair, stride: Pair | None, padding: Padding, residuals: Residuals, dz: Float[Array, "*n u v c"]
) -> tuple[Float[Array, "*n h w c"]]:
    rows, columns = pooling_axes("avg_pool", residuals.shape_marker.shape, window, stride, padding)
    share = widen(dz) / _counts(rows, columns).astype(widen(dz).dtype)
    share = pad(share, {-3: windows_around(rows), -2: windows_around(columns)})
    dx = _sums_over_windows(_sums_over_windows(share, rows, along=-3), columns, along=-2)
    return (dx.astype(dz.dtype),)


avg_pool.defvjp(avg_pool_fwd, avg_pool_bwd)


def _counts(rows: Axis, columns: Axis) -> np.ndarray:
    """Returns how many elements each window holds, `(u, v, 1)`."""
    return (real_offsets(rows).sum(0)[:, None] * real_offsets(columns).sum(0))[:, :, None]


def _window_sums(x: Array, axis: Axis, along: int) -> Array:
    """Returns the sum of each window along one axis."""
    padded = pad(x, {along: (axis.low, axis.high)})
    return sum((at_offset(padded, axis, along, k) for k in range(1, axis.window)), at_offset(padded, axis, along, 0))


def _sums_over_windows(share: Array, axis: Axis, along: int) -> Array:
    """Returns for each element the sum of the shares, padded by `windows_around`, that reach it along one axis."""
    dx = jnp.zeros((), share.dtype)
    for which in range(windows_per_element(axis)):
        inside = (offsets_of_elements(axis, which) < axis.window).reshape(-1, *[1] * (-1 - along))
        dx = dx + jnp.where(inside, over_elements(share, axis, along, which), 0)
    return dx
