"""Logarithm of the softmax."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.precision import widen
from jbackprop.layers.stable_softmax import Residuals, check_axis, maximum_and_sum, shift
from jbackprop.layers.static_arguments import custom_vjp_with_static


@custom_vjp_with_static(1)
def log_softmax(z: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    r"""Returns $y_k = z_k - \log \sum_j e^{z_j}$ along `axis`.

    $$dz_k = dy_k - p_k \textstyle\sum_j dy_j \qquad p_k = e^{y_k}$$

    Shapes: any; `y` has the shape and dtype of `z` (any real floating dtype); sums are carried in float32 at least.
    Infinities: as `softmax`, of which this is the logarithm. `axis` is static.
    Residuals: `z` and one number a row, from which p is computed again.
    Raises: TypeError for integers, ValueError for a missing or empty axis.
    Source: TWO-LAYER; JACOBIAN (the logarithm inside the cross-entropy).

    >>> import jax.numpy as jnp
    >>> [round(float(y), 4) for y in log_softmax(jnp.array([0.0, 0.0]))]
    [-0.6931, -0.6931]
    """
    return log_softmax_fwd(z, axis)[0]


def log_softmax_fwd(z: Float[Array, "..."], axis: int = -1) -> tuple[Float[Array, "..."], Residuals]:
    dtype = check_axis("log_softmax", z, axis)
    z = jnp.asarray(z)
    m, s = maximum_and_sum(widen(z), axis)
    y = shift(widen(z), m) - jnp.log(s)
    return y.astype(dtype), Residuals(z, s)


def log_softmax_bwd(axis: int, residuals: Residuals, dy: Float[Array, "..."]) -> tuple[Float[Array, "..."]]:
    wide_dy = widen(dy)
    share = -jnp.sum(wide_dy, axis, keepdims=True) / residuals.s
    dz = wide_dy + residuals.exponentials(axis) * share  # a sum is quicker than a difference on XLA's CPU backend
    return (dz.astype(dy.dtype),)


log_softmax.defvjp(log_softmax_fwd, log_softmax_bwd)
