"""Integer labels as indices of classes: a jitted function cannot raise, so each caller marks the rows out of range."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer


def class_indices(labels: Integer[Array, "*n"], k: int) -> tuple[Integer[Array, "*n 1"], Bool[Array, "*n 1"]]:
    """Returns the label of each row, and whether it is one of the k classes.

    >>> index, in_range = class_indices(jnp.array([2, 3, -1]), 3)
    >>> in_range.ravel().tolist()
    [True, False, False]
    """
    if labels.dtype.itemsize < 4:  # k must be a number of this dtype
        labels = labels.astype(jnp.int32)
    index = labels[..., None]
    return index, (index >= 0) & (index < k)
