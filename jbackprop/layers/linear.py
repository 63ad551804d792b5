"""Affine layer y = x w + b, the rule every dense network is built from."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype
from jbackprop.layers.precision import einsum, sum_leading, widen


class Residuals(NamedTuple):
    """`x` and `w`, which the two products read; of the bias only whether there is one (no bytes)."""

    x: Float[Array, "*n i"]
    w: Float[Array, "i o"]
    bias_marker: Float[Array, "0"] | None


@jax.custom_vjp
def linear(
    x: Float[Array, "*n i"], w: Float[Array, "i o"], b: Float[Array, " o"] | None = None
) -> Float[Array, "*n o"]:
    r"""Returns $y_{no} = \sum_i x_{ni} w_{io} + b_o$.

    With $n$ running over all leading axes,

    $$dx = dy\,w^\top \qquad dw = x^\top dy \qquad db = \textstyle\sum_n dy_n$$

    Shapes: `x` `(*n, i)`, `w` `(i, o)`, `b` `(o,)` or None; `y` `(*n, o)`. One real floating dtype for all; sums are
    carried in float32 at least.
    Residuals: `x` and `w`.
    Raises: ValueError for shapes that do not fit, TypeError for integers and for dtypes that differ.
    Source: VANILLA; REGRESSION; JACOBIAN, identities 1, 2, 5, 6.

    >>> import jax.numpy as jnp
    >>> linear(jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]]), jnp.array([0.5])).tolist()
    [[11.5]]
    """
    return linear_fwd(x, w, b)[0]


def linear_fwd(
    x: Float[Array, "*n i"], w: Float[Array, "i o"], b: Float[Array, " o"] | None = None
) -> tuple[Float[Array, "*n o"], Residuals]:
    dtype = _check(x, w, b)
    x, w = jnp.asarray(x), jnp.asarray(w)
    y = einsum("...i,io->...o", x, w)
    if b is not None:
        y = y + widen(b)
    return y.astype(dtype), Residuals(x, w, None if b is None else jnp.asarray(b)[:0])


def linear_bwd(
    residuals: Residuals, dy: Float[Array, "*n o"]
) -> tuple[Float[Array, "*n i"], Float[Array, "i o"], Float[Array, " o"] | None]:
    x, w, bias_marker = residuals
    dx = einsum("...o,io->...i", dy, w, cotangent_for=x)
    dw = einsum("...i,...o->io", x, dy, cotangent_for=w)
    db = None if bias_marker is None else sum_leading(dy, cotangent_for=bias_marker)
    return dx, dw, db


linear.defvjp(linear_fwd, linear_bwd)


def _check(x, w, b) -> np.dtype:
    dtype = shared_float_dtype("linear", optional=("b",), x=x, w=w, b=b)
    shapes = f"(x {jnp.shape(x)}, w {jnp.shape(w)})"
    if jnp.ndim(x) < 1 or jnp.ndim(w) != 2:
        raise ValueError(f"linear: x must have at least 1 axis and w exactly 2, (i, o) {shapes}")
    if jnp.shape(x)[-1] != jnp.shape(w)[0]:
        raise ValueError(
            f"linear: x has {jnp.shape(x)[-1]} features but w expects {jnp.shape(w)[0]} {shapes}: "
            f"the last axis of x must be the first of w"
        )
    if b is not None and jnp.shape(b) != jnp.shape(w)[1:]:
        raise ValueError(
            f"linear: b has shape {jnp.shape(b)} but w {jnp.shape(w)} gives outputs of shape {jnp.shape(w)[1:]}: "
            f"one bias for each output"
        )
    return dtype
