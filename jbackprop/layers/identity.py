"""The identity, the rule of a node that only passes on what it reads (a skip connection)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype


class Residuals(NamedTuple):
    """Nothing: the Jacobian is the identity matrix."""


@jax.custom_vjp
def identity(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""Returns $z = x$.

    The Jacobian is $I$, so

    $$dx = dz$$

    Shapes: any; `z` has the shape and dtype of `x` (any real floating dtype).
    Residuals: none.
    Raises: TypeError for integers.
    Source: JACOBIAN, identity 3.

    >>> import jax, jax.numpy as jnp
    >>> float(jax.grad(identity)(jnp.float32(3.0)))
    1.0
    """
    return identity_fwd(x)[0]


def identity_fwd(x: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Residuals]:
    shared_float_dtype("identity", x=x)
    return jnp.asarray(x), Residuals()


def identity_bwd(residuals: Residuals, dz: Float[Array, "*n"]) -> tuple[Float[Array, "*n"]]:
    dx = dz
    return (dx,)


identity.defvjp(identity_fwd, identity_bwd)
