"""The rule that joins two branches of a graph: the sum of a skip connection."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import require_equal_shapes, shared_float_dtype
from jbackprop.networks.rule import bind


class Residuals(NamedTuple):
    """Nothing: both Jacobians are the identity matrix."""


@jax.custom_vjp
def add(a: Float[Array, "*n"], b: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""Returns $z = a + b$, element by element; nothing is broadcast.

    $$da = dz \qquad db = dz$$

    Shapes: equal. Residuals: none. Raises: ValueError for shapes that differ, TypeError for dtypes that differ.
    Source: JACOBIAN, identity 3, once for each term.

    >>> import jax.numpy as jnp
    >>> add(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])).tolist()
    [4.0, 6.0]
    """
    return add_fwd(a, b)[0]


def add_fwd(a: Float[Array, "*n"], b: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Residuals]:
    shared_float_dtype("add", a=a, b=b)
    require_equal_shapes("add", a=a, b=b)
    return jnp.asarray(a) + jnp.asarray(b), Residuals()


def add_bwd(residuals: Residuals, dz: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    da = dz
    db = dz
    return da, db


add.defvjp(add_fwd, add_bwd)

ADD = bind(add, add_fwd, add_bwd)
