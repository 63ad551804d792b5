"""Who wins each window of a max pool, and where each element lies in the windows that contain it."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jbackprop.layers.windows import Axis, at_offset, offsets_of_elements, pad, real_offsets


def maximum_and_winner(x: Array, rows: Axis, columns: Axis) -> tuple[Array, Array]:
    """Returns the first largest of each window, row by row (a NaN is largest), and its place in the window."""
    dtype = np.min_scalar_type(-rows.window * columns.window)
    padded = pad(x, {-3: (rows.low, rows.high), -2: (columns.low, columns.high)}, -jnp.inf)
    best, column = _running(padded, columns, -2, lambda column: jnp.asarray(column, dtype))
    first_of_row = (np.arange(rows.window) * columns.window).astype(dtype)
    return _running(best, rows, -3, lambda row: at_offset(column, rows, -3, row) + first_of_row[row])


def _running(padded: Array, axis: Axis, along: int, place: Callable[[int], Array]) -> tuple[Array, Array]:
    """Returns the first largest of each window along one axis, and what `place` says of its offset."""
    first_real = real_offsets(axis).argmax(0).reshape(-1, *[1] * (-1 - along))
    best = at_offset(padded, axis, along, 0)
    best_place = jnp.broadcast_to(place(0), best.shape)
    for offset in range(1, axis.window):
        value = at_offset(padded, axis, along, offset)
        wins = ~(value <= best) & ~jnp.isnan(best)
        if (first_real == offset).any():
            wins |= first_real == offset  # all before it was padding, which must not win with -inf
        best = jnp.where(wins, value, best)
        best_place = jnp.where(wins, place(offset), best_place)
    return best, best_place


def place_of_elements(rows: Axis, a: int, columns: Axis, b: int) -> np.ndarray:
    """Returns each element's place in that window, `(h, w, 1)`, or -1 where the window ends before it."""
    i, j = offsets_of_elements(rows, a)[:, None], offsets_of_elements(columns, b)[None, :]
    return np.where((i < rows.window) & (j < columns.window), i * columns.window + j, -1)[:, :, None]
