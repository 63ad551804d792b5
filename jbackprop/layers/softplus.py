"""Softplus, the smooth rectifier."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype
from jbackprop.layers.precision import widen


class Residuals(NamedTuple):
    """The input: the derivative is its sigmoid."""

    z: Float[Array, "*n"]


@jax.custom_vjp
def softplus(z: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""Returns $a = \log(1 + e^z)$, without overflow.

    $$dz = da \circ \sigma(z)$$

    Shapes: any; `a` has the shape and dtype of `z` (any real floating dtype); computed in float32 at least.
    Residuals: `z`.
    Raises: TypeError for integers.
    Source: rule 4 with f'(z) = σ(z): JACOBIAN, identity 4.

    >>> import jax, jax.numpy as jnp
    >>> float(jax.grad(softplus)(jnp.float32(0.0)))
    0.5
    """
    return softplus_fwd(z)[0]


def softplus_fwd(z: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Residuals]:
    dtype = shared_float_dtype("softplus", z=z)
    z = jnp.asarray(z)
    wide = widen(z)
    a = jnp.logaddexp(wide, jnp.zeros_like(wide))
    return a.astype(dtype), Residuals(z)


def softplus_bwd(residuals: Residuals, da: Float[Array, "*n"]) -> tuple[Float[Array, "*n"]]:
    (z,) = residuals
    dz = widen(da) * jax.lax.logistic(widen(z))
    return (dz.astype(da.dtype),)


softplus.defvjp(softplus_fwd, softplus_bwd)
