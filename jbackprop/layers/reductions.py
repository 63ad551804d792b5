r"""The last step of a loss: `mean`, `sum` or `none` of its elements, and the cotangent of that step.

With $\ell$ the $N$ elements and $L$ the result: $d\ell_n = dL / N$ for the mean, $dL$ for the sum, $dL_n$ for none.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(function: str, reduction: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError for an unknown reduction, and for the mean of nothing."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{function}: reduction is {reduction!r}: choose one of {', '.join(map(repr, REDUCTIONS))}")
    if reduction == "mean" and math.prod(shape) == 0:
        raise ValueError(
            f"{function}: the mean of an empty batch (shape {shape}, N = 0) does not exist: "
            f"leave empty batches out, or use reduction='sum'"
        )


def reduce_elements(elements: Float[Array, "..."], reduction: str) -> Float[Array, "..."]:
    """Returns the mean or the sum over all elements, or the elements themselves."""
    if reduction == "none":
        return elements
    return jnp.mean(elements) if reduction == "mean" else jnp.sum(elements)


def spread_cotangent(dL: Float[Array, "..."], reduction: str, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Returns the cotangent of each element, broadcastable against `shape`."""
    return dL / math.prod(shape) if reduction == "mean" else dL
