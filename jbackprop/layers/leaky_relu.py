"""Leaky rectified linear unit."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from jbackprop.layers.argument_checks import shared_float_dtype, static_number
from jbackprop.layers.sides import route, side_of_zero
from jbackprop.layers.static_arguments import custom_vjp_with_static


class Residuals(NamedTuple):
    """The sign of z, one byte an element as a boolean mask, which also tells NaN."""

    side: Int8[Array, "*n"]


@custom_vjp_with_static(1)
def leaky_relu(z: Float[Array, "*n"], slope: float = 0.01) -> Float[Array, "*n"]:
    r"""Returns $a = z$ where $z \ge 0$ and $a = s z$ elsewhere, with $s$ = `slope`.

    $$dz = da \circ (1[z \ge 0] + s\,1[z < 0])$$

    At $z = 0$ exactly the derivative is 1, as in `jax.nn.leaky_relu`. A NaN stays NaN, in the value and in the
    gradient.

    Shapes: any; `a` has the shape and dtype of `z` (any real floating dtype). `slope` is static.
    Residuals: one byte an element.
    Raises: TypeError for integers and for a slope that is no number.
    Source: rule 4 with f'(z) in {s, 1}: JACOBIAN, identity 4.

    >>> import jax, jax.numpy as jnp
    >>> jax.vmap(jax.grad(lambda z: leaky_relu(z, slope=0.25)))(jnp.array([-1.0, 0.0, 2.0])).tolist()
    [0.25, 1.0, 1.0]
    """
    return leaky_relu_fwd(z, slope)[0]


def leaky_relu_fwd(z: Float[Array, "*n"], slope: float = 0.01) -> tuple[Float[Array, "*n"], Residuals]:
    shared_float_dtype("leaky_relu", z=z)
    s = static_number("leaky_relu", "slope", slope)
    z = jnp.asarray(z)
    a = jnp.where(z < 0, z * s, z)
    return a, Residuals(side_of_zero(z))


def leaky_relu_bwd(slope: float, residuals: Residuals, da: Float[Array, "*n"]) -> tuple[Float[Array, "*n"]]:
    dz = route(residuals.side, da, below=da * float(slope), at_zero=da)
    return (dz,)


leaky_relu.defvjp(leaky_relu_fwd, leaky_relu_bwd)
