"""Softmax."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.precision import widen
from jbackprop.layers.stable_softmax import Residuals, check_axis, exp_shifted, maximum_and_sum
from jbackprop.layers.static_arguments import custom_vjp_with_static


@custom_vjp_with_static(1)
def softmax(z: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    r"""Returns $p_k = e^{z_k} / \sum_j e^{z_j}$ along `axis`.

    $$dz_k = p_k \, \big(dp_k - \textstyle\sum_j dp_j\, p_j\big)$$

    Shapes: any; `p` has the shape and dtype of `z` (any real floating dtype); sums are carried in float32 at least.
    Infinities: one $+\infty$ gives the limit, a one-hot row; $-\infty$ gives 0; a row of $-\infty$ alone, two
    $+\infty$ or a NaN give a row of NaN. `axis` is static.
    Residuals: `z` and one number a row, from which p is computed again.
    Raises: TypeError for integers, ValueError for a missing or empty axis.
    Source: TWO-LAYER; JACOBIAN.

    >>> import jax.numpy as jnp
    >>> softmax(jnp.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    return softmax_fwd(z, axis)[0]


def softmax_fwd(z: Float[Array, "..."], axis: int = -1) -> tuple[Float[Array, "..."], Residuals]:
    dtype = check_axis("softmax", z, axis)
    z = jnp.asarray(z)
    m, s = maximum_and_sum(widen(z), axis)
    p = exp_shifted(widen(z), m) / s
    return p.astype(dtype), Residuals(z, s)


def softmax_bwd(axis: int, residuals: Residuals, dp: Float[Array, "..."]) -> tuple[Float[Array, "..."]]:
    p, wide_dp = residuals.exponentials(axis) / residuals.s, widen(dp)
    dz = p * (wide_dp - jnp.sum(wide_dp * p, axis, keepdims=True))
    return (dz.astype(dp.dtype),)


softmax.defvjp(softmax_fwd, softmax_bwd)
