"""Flattening, the step from feature maps to a dense layer."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype


class Residuals(NamedTuple):
    """The shape of one example, as an array of no elements."""

    shape_marker: Float[Array, "0 *shape"]


@jax.custom_vjp
def flatten(x: Float[Array, "n *shape"]) -> Float[Array, "n i"]:
    r"""Returns $y$, each example's elements in row-major order.

    $$dx = \text{the same elements in the shape of } x$$

    Shapes: `x` `(n, ...)`; `y` `(n, i)` with i the product of the rest; same dtype (any real floating dtype).
    Residuals: no bytes, only the shape.
    Raises: TypeError for integers, ValueError for a scalar.
    Source: rule 5, the identity in another shape: JACOBIAN, identity 3.

    >>> import jax.numpy as jnp
    >>> flatten(jnp.zeros((2, 3, 4))).shape
    (2, 12)
    """
    return flatten_fwd(x)[0]


def flatten_fwd(x: Float[Array, "n *shape"]) -> tuple[Float[Array, "n i"], Residuals]:
    shared_float_dtype("flatten", x=x)
    if jnp.ndim(x) == 0:
        raise ValueError("flatten: x is a scalar: its first axis must be the examples")
    x = jnp.asarray(x)
    return x.reshape(x.shape[0], math.prod(x.shape[1:])), Residuals(x[:0])


def flatten_bwd(residuals: Residuals, dy: Float[Array, "n i"]) -> tuple[Float[Array, "n *shape"]]:
    dx = dy.reshape(dy.shape[0], *residuals.shape_marker.shape[1:])
    return (dx,)


flatten.defvjp(flatten_fwd, flatten_bwd)
