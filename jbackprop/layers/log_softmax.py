"""Logarithm of the softmax."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.precision import widen
from jbackprop.layers.stable_softmax import check_axis, maximum_and_sum, shift
from jbackprop.layers.static_arguments import custom_vjp_with_static


class Residuals(NamedTuple):
    """The output alone: the probabilities are its exponential."""

    y: Float[Array, "..."]


@custom_vjp_with_static(1)
def log_softmax(z: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    r"""Returns $y_k = z_k - \log \sum_j e^{z_j}$ along `axis`.

    $$dz_k = dy_k - e^{y_k} \textstyle\sum_j dy_j$$

    Shapes: any; `y` has the shape and dtype of `z` (any real floating dtype); sums are carried in float32 at least.
    Infinities: as `softmax`, of which this is the logarithm. `axis` is static.
    Residuals: `y`.
    Raises: TypeError for integers, ValueError for a missing or empty axis.
    Source: TWO-LAYER; JACOBIAN (the logarithm inside the cross-entropy).

    >>> import jax.numpy as jnp
    >>> [round(float(y), 4) for y in log_softmax(jnp.array([0.0, 0.0]))]
    [-0.6931, -0.6931]
    """
    return log_softmax_fwd(z, axis)[0]


def log_softmax_fwd(z: Float[Array, "..."], axis: int = -1) -> tuple[Float[Array, "..."], Residuals]:
    dtype = check_axis("log_softmax", z, axis)
    z = widen(z)
    m, s = maximum_and_sum(z, axis)
    y = (shift(z, m) - jnp.log(s)).astype(dtype)
    return y, Residuals(y)


def log_softmax_bwd(axis: int, residuals: Residuals, dy: Float[Array, "..."]) -> tuple[Float[Array, "..."]]:
    y, wide_dy = widen(residuals.y), widen(dy)
    dz = wide_dy - jnp.exp(y) * jnp.sum(wide_dy, axis, keepdims=True)
    return (dz.astype(dy.dtype),)


log_softmax.defvjp(log_softmax_fwd, log_softmax_bwd)
