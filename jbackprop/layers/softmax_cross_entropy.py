"""Softmax and cross-entropy in one rule: apart they overflow, together the cotangent is p - y."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jbackprop.layers.argument_checks import require_array, shared_float_dtype
from jbackprop.layers.class_indices import class_indices
from jbackprop.layers.label_part import minus_at_label
from jbackprop.layers.precision import nan, widen
from jbackprop.layers.reductions import check_reduction, reduce_elements, spread_cotangent
from jbackprop.layers.sharding import cotangent_of
from jbackprop.layers.stable_softmax import exp_shifted, maximum, maximum_and_sum, shift
from jbackprop.layers.static_arguments import custom_vjp_with_static

Labels = Integer[Array, "*n"] | Float[Array, "*n k"]


class Residuals(NamedTuple):
    """The two arguments and s, one number a row, from which p is one exponential away.

    The maximum is taken again, which XLA spares where both passes are one program. Keeping p in bfloat16 instead would
    round away p - y where the network is sure and right.
    """

    logits: Float[Array, "*n k"]
    labels: Labels
    s: Float[Array, "*n 1"]


@custom_vjp_with_static(2)
def softmax_cross_entropy(logits: Float[Array, "*n k"], labels: Labels, reduction: str = "mean") -> Float[Array, "..."]:
    r"""Returns $J_n = -\sum_k y_{nk} \log p_{nk}$ with $p = \mathrm{softmax}(z)$, averaged, summed or row by row.

    With $dJ_n$ the cotangent of one row ($dJ / N$ under the mean),

    $$dz_{nk} = (p_{nk} \textstyle\sum_j y_{nj} - y_{nk})\, dJ_n \qquad dy_{nk} = -\log p_{nk}\, dJ_n$$

    which is $(p - y)\,dJ$ for labels that add up to 1.

    Shapes: `logits` `(*n, k)`; `labels` integers `(*n,)`, or probabilities `(*n, k)` of the dtype of `logits`; the
    loss is `()` under `"mean"` and `"sum"`, `(*n,)` under `"none"`, in the dtype of `logits`; computed in float32 at
    least. A label below 0 or from k on gives NaN, in its row's loss and gradient: it is an error that a jitted function
    cannot raise. $0 \log 0 = 0$. Infinite logits: as `softmax`. `reduction` is static.
    Residuals: `logits`, `labels` and one number a row.
    Raises: ValueError for shapes that do not fit, for an unknown reduction, for no classes, and for the mean of an
    empty batch; TypeError for integer logits, boolean labels, and probabilities of another dtype than the logits.
    Source: TWO-LAYER; JACOBIAN.

    >>> import jax, jax.numpy as jnp
    >>> logits = jnp.array([[0.0, 0.0], [0.0, 0.0]])
    >>> jax.grad(softmax_cross_entropy)(logits, jnp.array([0, 1])).tolist()
    [[-0.25, 0.25], [0.25, -0.25]]
    """
    return softmax_cross_entropy_fwd(logits, labels, reduction)[0]


def softmax_cross_entropy_fwd(
    logits: Float[Array, "*n k"], labels: Labels, reduction: str = "mean"
) -> tuple[Float[Array, "..."], Residuals]:
    _check(logits, labels, reduction)
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    z = widen(logits)
    m, s = maximum_and_sum(z)
    if _are_indices(labels):
        index, in_range = class_indices(labels, z.shape[-1])
        z_label = jnp.take_along_axis(z, index, -1, mode="clip")
        J = jnp.where(in_range, jnp.log(s) - shift(z_label, m), nan(s.dtype))[..., 0]
    else:
        log_p, y = shift(z, m) - jnp.log(s), widen(labels)
        J = -jnp.sum(jnp.where((y == 0) & jnp.isneginf(log_p), 0, y * log_p), -1)
    return reduce_elements(J, reduction).astype(logits.dtype), Residuals(logits, labels, s)


def softmax_cross_entropy_bwd(
    reduction: str, residuals: Residuals, dJ: Float[Array, "..."]
) -> tuple[Float[Array, "*n k"], Float[Array, "*n k"] | None]:
    logits, labels, s = residuals
    dJ_n = spread_cotangent(widen(dJ), reduction, logits.shape[:-1])[..., None]
    z = widen(logits)
    m = maximum(z)
    e = exp_shifted(z, m)
    if _are_indices(labels):
        index, in_range = class_indices(labels, z.shape[-1])
        dJ_n = jnp.where(in_range, dJ_n, nan(dJ_n.dtype))
        p_dJ = e * (dJ_n / s)  # one division a row, not one an element
        return cotangent_of(logits, minus_at_label(p_dJ, dJ_n, index, logits.dtype)), None
    y = widen(labels)
    dz = (e / s * jnp.sum(y, -1, keepdims=True) - y) * dJ_n
    dy = -(shift(z, m) - jnp.log(s)) * dJ_n
    return cotangent_of(logits, dz), cotangent_of(labels, dy)


softmax_cross_entropy.defvjp(softmax_cross_entropy_fwd, softmax_cross_entropy_bwd)


def _are_indices(labels) -> bool:
    return jnp.issubdtype(jnp.result_type(labels), jnp.integer)


def _check(logits, labels, reduction) -> None:
    require_array("softmax_cross_entropy", "logits", logits)
    require_array("softmax_cross_entropy", "labels", labels)
    shapes = f"(logits {jnp.shape(logits)}, labels {jnp.shape(labels)})"
    if jnp.ndim(logits) < 1 or jnp.shape(logits)[-1] == 0:
        raise ValueError(f"softmax_cross_entropy: the last axis of logits must hold at least one class {shapes}")
    if jnp.result_type(labels) == jnp.bool_:
        raise TypeError(
            f"softmax_cross_entropy: labels are booleans {shapes}: "
            f"give class indices (labels.argmax(-1)) or probabilities (labels.astype(logits.dtype))"
        )
    if _are_indices(labels):
        shared_float_dtype("softmax_cross_entropy", logits=logits)
        if jnp.shape(labels) != jnp.shape(logits)[:-1]:
            raise ValueError(
                f"softmax_cross_entropy: integer labels need one class index a row, shape "
                f"{jnp.shape(logits)[:-1]} {shapes}: squeeze them, or cast one-hot rows to floats"
            )
    else:
        shared_float_dtype("softmax_cross_entropy", logits=logits, labels=labels)
        if jnp.shape(labels) != jnp.shape(logits):
            raise ValueError(
                f"softmax_cross_entropy: floating labels are probabilities and need the shape of the logits {shapes}: "
                f"class indices must be integers, labels.astype(int)"
            )
    check_reduction("softmax_cross_entropy", reduction, jnp.shape(logits)[:-1])
