"""Logistic sigmoid."""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype


class Residuals(NamedTuple):
    """The output alone: the derivative is a function of it, and the next layer keeps it anyway."""

    a: Float[Array, "*n"]


@jax.custom_vjp
def sigmoid(z: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""Returns $a = \sigma(z) = 1 / (1 + e^{-z})$.

    $$dz = da \circ a \circ (1 - a)$$

    Shapes: any; `a` has the shape and dtype of `z` (any real floating dtype). The limits 0 and 1 are reached without
    overflow, with derivative 0.
    Residuals: `a`.
    Raises: TypeError for integers.
    Source: TWO-LAYER; REGRESSION.

    >>> import jax, jax.numpy as jnp
    >>> float(jax.grad(sigmoid)(jnp.float32(0.0)))
    0.25
    """
    return sigmoid_fwd(z)[0]


def sigmoid_fwd(z: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Residuals]:
    shared_float_dtype("sigmoid", z=z)
    a = jax.lax.logistic(z)
    return a, Residuals(a)


def sigmoid_bwd(residuals: Residuals, da: Float[Array, "*n"]) -> tuple[Float[Array, "*n"]]:
    (a,) = residuals
    dz = da * a * (1 - a)
    return (dz,)


sigmoid.defvjp(sigmoid_fwd, sigmoid_bwd)
