"""The label's part of the cotangent of cross-entropy, in the formulation that is fast where it runs."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jbackprop.layers.one_cpu import on_one_cpu

MOST_SMALL = 2**14  # elements: a thousand rows of ten classes are known to gain
FEWEST_CLASSES, FEWEST_ELEMENTS = 2**9, 2**18  # from which on one addition a row is known to gain


def minus_at_label(
    p_dJ: Float[Array, "*n k"], dJ_n: Float[Array, "*n 1"], index: Integer[Array, "*n 1"], dtype: Any
) -> Float[Array, "*n k"]:
    """Returns p dJ - y dJ for the one-hot y of the labels; a label that is no class must have a row of NaN already."""
    k = p_dJ.shape[-1]
    if not adds_at_label(p_dJ, dtype):
        return p_dJ - jnp.where(index == jnp.arange(k, dtype=index.dtype), dJ_n, 0)
    at_label = jnp.zeros((index.size, k), p_dJ.dtype).at[jnp.arange(index.size, dtype=index.dtype), index.ravel()]
    # XLA adds in place all the same, but written so the product dw after it runs before dx, and steps are faster
    return p_dJ + at_label.add(-dJ_n.ravel(), mode="clip", unique_indices=True).reshape(p_dJ.shape)


def adds_at_label(p_dJ: Float[Array, "*n k"], dtype: Any) -> bool:
    """Whether -dJ is added at the label of each row, or every class compared with it, for logits of `dtype`.

    The comparison is the formula as it stands. On one CPU one addition a row is faster (docs/performance.md has the
    figures) in steps of small dense networks, and of many classes where the result is not cast afterwards.
    """
    if not on_one_cpu(p_dJ):
        return False
    small = p_dJ.size <= MOST_SMALL
    return small or (p_dJ.shape[-1] >= FEWEST_CLASSES and p_dJ.size >= FEWEST_ELEMENTS and p_dJ.dtype == dtype)
