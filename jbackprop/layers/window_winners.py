"""Who wins a window of a max pool, one axis at a time, and how the cotangent finds it again."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jbackprop.layers.windows import (
    Axis,
    at_offset,
    offsets_of_elements,
    over_elements,
    pad_axis,
    real_offsets,
    windows_per_element,
)


def running_maximum(values: Array, axis: Axis, along: int) -> tuple[Array, Array]:
    """Returns the first largest of each window along one axis (a NaN is largest) and its offset in the window."""
    dtype = np.min_scalar_type(-axis.window)
    return _running(values, axis, along, lambda offset: jnp.asarray(offset, dtype))


def running_maximum_of_rows(values: Array, column: Array, rows: Axis, columns: Axis) -> tuple[Array, Array]:
    """Returns the same down the rows; the place of the winner counts row by row and goes on from its `column`."""
    places = pad_axis(column.astype(np.min_scalar_type(-rows.window * columns.window)), rows, -3, 0.0)
    return _running(
        values,
        rows,
        -3,
        lambda row: at_offset(places, rows, -3, row) + jnp.asarray(row * columns.window, places.dtype),
    )


def _running(values: Array, axis: Axis, along: int, place: Callable[[int], Array]) -> tuple[Array, Array]:
    values = pad_axis(values, axis, along, -jnp.inf)
    first_real = real_offsets(axis).argmax(0).reshape(-1, *[1] * (-1 - along))
    best = at_offset(values, axis, along, 0)
    best_place = jnp.broadcast_to(place(0), best.shape)
    for offset in range(1, axis.window):
        value = at_offset(values, axis, along, offset)
        wins = ~(value <= best) & ~jnp.isnan(best)
        if (first_real == offset).any():
            wins |= first_real == offset  # all before it was padding, which must not win with -inf
        best = jnp.where(wins, value, best)
        best_place = jnp.where(wins, place(offset), best_place)
    return best, best_place


def to_winners(dz: Array, place: Array, axis: Axis, along: int) -> Array:
    """Returns, for each element along one axis, the sum of the cotangents of the windows that it won."""
    dx = jnp.zeros((), dz.dtype)
    for a in range(windows_per_element(axis)):
        offset = offsets_of_elements(axis, a)
        offset = np.where(offset < axis.window, offset, -1).astype(place.dtype)  # -1: the window ends before it
        won = over_elements(place, axis, along, a) == offset.reshape(-1, *[1] * (-1 - along))
        dx += jnp.where(won, over_elements(dz, axis, along, a), 0)
    return dx


def place_of_elements(rows: Axis, a: int, columns: Axis, b: int) -> np.ndarray:
    """Returns each element's place in that window, `(h, w, 1)`, or -1 where the window ends before it."""
    i, j = offsets_of_elements(rows, a)[:, None], offsets_of_elements(columns, b)[None, :]
    return np.where((i < rows.window) & (j < columns.window), i * columns.window + j, -1)[:, :, None]
