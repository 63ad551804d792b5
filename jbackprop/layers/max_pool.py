"""Max pooling that remembers the winner of each window in one byte."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jbackprop.layers.argument_checks import shared_float_dtype
from jbackprop.layers.precision import nan, widen
from jbackprop.layers.static_arguments import custom_vjp_with_static
from jbackprop.layers.window_winners import maximum_and_winner, place_of_elements
from jbackprop.layers.windows import (
    Axis,
    Padding,
    Pair,
    as_pair,
    over_elements,
    pad,
    require_real_elements,
    spatial_axes,
    windows_around,
    windows_per_element,
)


class Residuals(NamedTuple):
    """The winner's place in its window, counted row by row (int8 up to 128 places), and the shape of x (no bytes).

    A place c that holds a NaN is written -1 - c.
    """

    winner: Int[Array, "*n u v c"]
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
    Residuals: one byte for each output (two for windows of more than 128 elements), 1/4 of a byte for each input under
    the usual 2x2 window.
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
) -> tuple[Float[Array, "*n u v c"], Residuals]:
    shared_float_dtype("max_pool", x=x)
    rows, columns = pooling_axes("max_pool", jnp.shape(x), window, stride, padding)
    x = jnp.asarray(x)
    z, winner = maximum_and_winner(x, rows, columns)
    winner = jnp.where(jnp.isnan(z), -1 - winner, winner)
    return z, Residuals(winner, jnp.zeros((rows.size, columns.size, 0), x.dtype))


def max_pool_bwd(
    window: Pair, stride: Pair | None, padding: Padding, residuals: Residuals, dz: Float[Array, "*n u v c"]
) -> tuple[Float[Array, "*n h w c"]]:
    rows, columns = pooling_axes("max_pool", residuals.shape_marker.shape, window, stride, padding)
    won_by_nan = residuals.winner < 0
    winner = jnp.where(won_by_nan, -1 - residuals.winner, residuals.winner)
    dz_marked = jnp.where(won_by_nan, nan(dz.dtype), dz)
    around = {-3: windows_around(rows), -2: windows_around(columns)}
    winner, dz_around = pad(winner, around), pad(widen(dz_marked), around)
    dx = jnp.zeros((), dz_around.dtype)
    for a in range(windows_per_element(rows)):
        for b in range(windows_per_element(columns)):
            place = place_of_elements(rows, a, columns, b).astype(winner.dtype)
            won = over_elements(over_elements(winner, rows, -3, a), columns, -2, b) == place
            dx += jnp.where(won, over_elements(over_elements(dz_around, rows, -3, a), columns, -2, b), 0)
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
