"""Max pooling that remembers the winner in one byte, or where many windows share an element in one byte an axis."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jbackprop.layers.argument_checks import shared_float_dtype
from jbackprop.layers.precision import nan, widen
from jbackprop.layers.static_arguments import custom_vjp_with_static
from jbackprop.layers.window_winners import place_of_elements, running_maximum, running_maximum_of_rows, to_winners
from jbackprop.layers.windows import (
    Axis,
    Padding,
    Pair,
    as_pair,
    over_elements,
    require_real_elements,
    spatial_axes,
    windows_per_element,
)


class Residuals(NamedTuple):
    """The winner's place in its window, counted row by row (int8 up to 128 places), and the shape of x (no bytes).

    A place c that holds a NaN is written -1 - c.
    """

    winner: Int[Array, "*n u v c"]
    shape_marker: Float[Array, "h w 0"]


class ResidualsByAxis(NamedTuple):
    """The winner's column in each window along a row of x, the winning row of each window, and the shape of x.

    A row r whose winner is a NaN is written -1 - r.
    """

    column: Int[Array, "*n h v c"]
    row: Int[Array, "*n u v c"]
    shape_marker: Float[Array, "h w 0"]


@custom_vjp_with_static(1, 2, 3)
def max_pool(
    x: Float[Array, "*n h w c"], window: Pair = 2, stride: Pair | None = None, padding: Padding = "VALID"
) -> Float[Array, "*n u v c"]:
    r"""Returns $z_{uv} = \max_{ij \in \text{window}_{uv}} x_{ij}$ for each channel.

    $$dx_{ij} = \sum_{uv} dz_{uv}\; 1[ij \text{ is the winner of window } uv]$$

    Ties: the first in row-major order wins alone, so that the sum of the cotangent is kept (XLA and PyTorch choose so
    too; JACOBIAN's formula would give the cotangent to each of them). Windows that overlap add. A NaN wins its window
    and gets a NaN cotangent. Padding never wins.

    Shapes: `x` `(*n, h, w, c)`; `z` `(*n, u, v, c)` with u = (h + padding - window) // stride + 1: a remainder that
    fills no window is dropped. Same dtype (any real floating dtype). `window` and `stride` are an integer or (height,
    width), `stride=None` means the window, `padding` is "VALID", "SAME" or ((top, bottom), (left, right)); all static.
    Residuals: one byte for each output, 1/4 of a byte for each float32 input under the usual 2x2 window; about two
    bytes where an element lies in more than four windows.
    Raises: ValueError for a window that does not fit or lies in the padding alone; TypeError for integers.
    Source: JACOBIAN.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.array([[1.0, 5.0], [5.0, 2.0]])[:, :, None]
    >>> jax.grad(lambda x: max_pool(x).sum())(x)[:, :, 0].tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    return max_pool_fwd(x, window, stride, padding)[0]


def max_pool_fwd(
    x: Float[Array, "*n h w c"], window: Pair = 2, stride: Pair | None = None, padding: Padding = "VALID"
) -> tuple[Float[Array, "*n u v c"], Residuals | ResidualsByAxis]:
    shared_float_dtype("max_pool", x=x)
    rows, columns = pooling_axes("max_pool", jnp.shape(x), window, stride, padding)
    x = jnp.asarray(x)
    shape_marker = jnp.zeros((rows.size, columns.size, 0), x.dtype)
    best, column = running_maximum(x, columns, along=-2)
    if _many_windows_share_an_element(rows, columns):
        z, row = running_maximum(best, rows, along=-3)
        return z, ResidualsByAxis(column, _nan_marked(row, z), shape_marker)
    z, place = running_maximum_of_rows(best, column, rows, columns)
    return z, Residuals(_nan_marked(place, z), shape_marker)


def max_pool_bwd(
    window: Pair,
    stride: Pair | None,
    padding: Padding,
    residuals: Residuals | ResidualsByAxis,
    dz: Float[Array, "*n u v c"],
) -> tuple[Float[Array, "*n h w c"]]:
    rows, columns = pooling_axes("max_pool", residuals.shape_marker.shape, window, stride, padding)
    if isinstance(residuals, ResidualsByAxis):
        row, dz_marked = _nan_read(residuals.row, dz)
        d_best = to_winners(widen(dz_marked), row, rows, along=-3)
        dx = to_winners(d_best, residuals.column, columns, along=-2)
        return (dx.astype(dz.dtype),)
    winner, dz = _nan_read(residuals.winner, dz)
    dx = jnp.zeros((), widen(dz).dtype)
    for a in range(windows_per_element(rows)):
        for b in range(windows_per_element(columns)):
            place = place_of_elements(rows, a, columns, b)
            won = over_elements(over_elements(winner, rows, -3, a), columns, -2, b) == place.astype(winner.dtype)
            dx_ab = over_elements(over_elements(dz, rows, -3, a), columns, -2, b)
            dx += jnp.where(won, widen(dx_ab), 0)
    return (dx.astype(dz.dtype),)


max_pool.defvjp(max_pool_fwd, max_pool_bwd)


def pooling_axes(
    function: str, shape: tuple[int, ...], window: Pair, stride: Pair | None, padding: Padding
) -> tuple[Axis, Axis]:
    """Returns the two axes of a pool; raises ValueError for shapes without height, width and channels."""
    if len(shape) < 3:
        raise ValueError(f"{function}: x has shape {shape} but needs height, width and channels, (*n, h, w, c)")
    stride = as_pair(function, "window", window) if stride is None else stride
    axes = spatial_axes(function, (shape[-3], shape[-2]), window, stride, padding)
    require_real_elements(function, axes)
    return axes


def _many_windows_share_an_element(rows: Axis, columns: Axis) -> bool:
    """Whether the cotangent goes to the winners along the rows first and then along the columns.

    XLA puts the search for the winner once into each term of a sum over windows. Nine terms at window 3 and stride 1
    cost more than autodiff; two sums of three terms a tenth of it. Up to four terms are cheaper in one sum.
    """
    return windows_per_element(rows) * windows_per_element(columns) > 4


def _nan_marked(place: Array, z: Array) -> Array:
    return jnp.where(jnp.isnan(z), -1 - place, place)


def _nan_read(place: Array, dz: Array) -> tuple[Array, Array]:
    return jnp.where(place < 0, -1 - place, place), jnp.where(place < 0, nan(dz.dtype), dz)
