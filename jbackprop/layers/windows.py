"""The geometry of sliding windows, one axis at a time: shared by the convolution and the pools.

Output u of an axis reads the positions u * stride - low + offset * dilation, for offset = 0 .. window - 1.
"""

import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

Pair = int | tuple[int, int]
Padding = str | tuple[tuple[int, int], tuple[int, int]]


class Axis(NamedTuple):
    """One spatial axis: lengths of input and output, the window over it, and the padding before and after."""

    size: int
    window: int
    stride: int
    dilation: int
    low: int
    high: int
    outputs: int


def as_pair(function: str, name: str, value: Pair) -> tuple[int, int]:
    """Returns (value, value) for an integer; raises unless both are integers of at least 1."""
    pair = value if isinstance(value, tuple) else (value, value)
    try:
        pair = tuple(operator.index(v) for v in pair)
    except TypeError:
        raise TypeError(f"{function}: {name} is {value!r}: give an integer or a tuple (height, width)") from None
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"{function}: {name} is {value!r}: give one integer, or two (height, width), of at least 1")
    return pair


def spatial_axes(
    function: str, sizes: tuple[int, int], window: Pair, stride: Pair, padding: Padding, dilation: Pair = 1
) -> tuple[Axis, Axis]:
    """Returns the height and the width axis; raises ValueError where a window does not fit."""
    windows, strides = as_pair(function, "window", window), as_pair(function, "stride", stride)
    dilations = as_pair(function, "dilation", dilation)
    axes = []
    for i in range(2):
        reach = (windows[i] - 1) * dilations[i] + 1
        low, high = _padding_of(function, padding, i, sizes[i], reach, strides[i])
        span = sizes[i] + low + high - reach
        if span < 0 or sizes[i] == 0:
            remedy = "use a smaller window or padding='SAME'" if sizes[i] else "give images of one element at least"
            raise ValueError(
                f"{function}: a window that reaches over {reach} does not fit into {('height', 'width')[i]} {sizes[i]} "
                f"padded by ({low}, {high}): {remedy}"
            )
        axes.append(Axis(sizes[i], windows[i], strides[i], dilations[i], low, high, span // strides[i] + 1))
    return axes[0], axes[1]


def _padding_of(function: str, padding: Padding, i: int, size: int, reach: int, stride: int) -> tuple[int, int]:
    if isinstance(padding, str) and padding == "VALID":
        return 0, 0
    if isinstance(padding, str) and padding == "SAME":
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        return total // 2, total - total // 2
    try:
        if not all(isinstance(pair, tuple) for pair in (padding, *padding)):  # only tuples can be hashed
            raise TypeError
        pairs: Any = padding
        (top, bottom), (left, right) = pairs
        low, high = map(operator.index, ((top, bottom), (left, right))[i])
    except (TypeError, ValueError):
        raise ValueError(
            f"{function}: padding is {padding!r}: give 'VALID', 'SAME' or tuples ((top, bottom), (left, right))"
        ) from None
    if low < 0 or high < 0:
        raise ValueError(f"{function}: padding is {padding!r}: it must not be negative (slice the input instead)")
    return low, high


def require_real_elements(function: str, axes: tuple[Axis, Axis]) -> None:
    """Raises ValueError where a pooling window would lie in the padding alone."""
    for name, axis in zip(("height", "width"), axes, strict=True):
        if not real_offsets(axis).any(0).all():
            raise ValueError(
                f"{function}: padding ({axis.low}, {axis.high}) of the {name} leaves windows of {axis.window} "
                f"without a single element: pad by less than the window"
            )


def real_offsets(axis: Axis) -> np.ndarray:
    """Returns `(window, outputs)`: whether that offset of that output's window is an element and not padding."""
    position = np.arange(axis.outputs) * axis.stride - axis.low + np.arange(axis.window)[:, None]
    return (position >= 0) & (position < axis.size)


def pad(x: Array, widths: Mapping[int, tuple[int, int]], value: float = 0.0) -> Array:
    """Pads array axes (counted from the end) before and after, all in one step.

    In two steps XLA computes what is padded once for each step's readers.
    """
    every = [(0, 0, 0)] * x.ndim
    for along, (before, after) in widths.items():
        every[along] = (before, after, 0)
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), every)


def at_offset(padded: Array, axis: Axis, along: int, offset: int) -> Array:
    """Returns, for each output, the element at `offset` of its window."""
    last = offset + (axis.outputs - 1) * axis.stride + 1
    return jax.lax.slice_in_dim(padded, offset, last, axis.stride, along)


def windows_per_element(axis: Axis) -> int:
    """Returns how many windows an element can lie in."""
    return -(-axis.window // axis.stride)


def windows_around(axis: Axis) -> tuple[int, int]:
    """Returns how many windows to add before the first and after the last for `over_elements`."""
    return windows_per_element(axis) - 1, _blocks(axis) - axis.outputs


def over_elements(per_window: Array, axis: Axis, along: int, which: int) -> Array:
    """Returns, for each element, the value of the `which`-th last window that contains it.

    `per_window` is padded by `windows_around`: that is the value where there is no such window. Element i (counted in
    the padded input) lies in window i // stride - which, at offset i % stride + which * stride.
    """
    first = windows_per_element(axis) - 1 - which
    of_blocks = jax.lax.slice_in_dim(per_window, first, first + _blocks(axis), 1, along)
    repeated = jnp.repeat(of_blocks, axis.stride, along)
    return jax.lax.slice_in_dim(repeated, axis.low, axis.low + axis.size, 1, along)


def _blocks(axis: Axis) -> int:
    """Returns how many strides reach over the elements and the padding before them."""
    return -(-(axis.low + axis.size) // axis.stride)


def offsets_of_elements(axis: Axis, which: int) -> np.ndarray:
    """Returns each element's offset in that window, of shape `(size,)`; from `window` on it lies behind its end."""
    return np.arange(axis.low, axis.low + axis.size) % axis.stride + which * axis.stride
