"""Hyperbolic tangent."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype


class Residuals(NamedTuple):
    """The output alone: the derivative is a function of it, and the next layer keeps it anyway."""

    a: Float[Array, "*n"]


@jax.custom_vjp
def tanh(z: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""Returns $a = \tanh(z)$.

    $$dz = da \circ (1 - a) \circ (1 + a)$$

    which is $da \circ (1 - a^2)$ without the cancellation near $a = \pm 1$.

    Shapes: any; `a` has the shape and dtype of `z` (any real floating dtype).
    Residuals: `a`.
    Raises: TypeError for integers.
    Source: rule 4 with f'(z) = 1 - tanh²(z): JACOBIAN, identity 4.

    >>> import jax, jax.numpy as jnp
    >>> float(jax.grad(tanh)(jnp.float32(0.0)))
    1.0
    """
    return tanh_fwd(z)[0]


def tanh_fwd(z: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Residuals]:
    shared_float_dtype("tanh", z=z)
    a = jnp.tanh(z)
    return a, Residuals(a)


def tanh_bwd(residuals: Residuals, da: Float[Array, "*n"]) -> tuple[Float[Array, "*n"]]:
    (a,) = residuals
    dz = da * (1 - a) * (1 + a)
    return (dz,)


tanh.defvjp(tanh_fwd, tanh_bwd)
