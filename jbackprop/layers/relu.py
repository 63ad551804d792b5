"""Rectified linear unit, with the derivative at 0 as an explicit choice."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from jbackprop.layers.argument_checks import shared_float_dtype, static_number
from jbackprop.layers.sides import route, side_of_zero
from jbackprop.layers.static_arguments import custom_vjp_with_static


class Residuals(NamedTuple):
    """The sign of z, one byte an element as a boolean mask, which also tells 0 and NaN."""

    side: Int8[Array, "*n"]


@custom_vjp_with_static(1)
def relu(z: Float[Array, "*n"], at_zero: float = 0.0) -> Float[Array, "*n"]:
    r"""Returns $a = \max(z, 0)$.

    $$dz = da \circ 1[z > 0]$$

    At $z = 0$ exactly $dz = $ `at_zero` $\cdot\, da$: 0 by default as in VANILLA, JACOBIAN and `jax.nn.relu`; 1 is the
    choice of DEEP; 1/2 is what JAX makes of `jnp.maximum(z, 0)`. A NaN stays NaN, in the value and in the gradient.

    Shapes: any; `a` has the shape and dtype of `z` (any real floating dtype). `at_zero` is static, in [0, 1].
    Residuals: one byte an element.
    Raises: TypeError for integers and for `at_zero` that is no number, ValueError outside [0, 1], where no subgradient
    lies.
    Source: VANILLA; JACOBIAN; DEEP.

    >>> import jax, jax.numpy as jnp
    >>> jax.vmap(jax.grad(relu))(jnp.array([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    return relu_fwd(z, at_zero)[0]


def relu_fwd(z: Float[Array, "*n"], at_zero: float = 0.0) -> tuple[Float[Array, "*n"], Residuals]:
    shared_float_dtype("relu", z=z)
    if not 0 <= static_number("relu", "at_zero", at_zero) <= 1:
        raise ValueError(f"relu: at_zero is {at_zero}: a subgradient of relu at 0 lies between 0 and 1")
    z = jnp.asarray(z)
    a = jnp.where(z <= 0, jnp.zeros_like(z), z)  # not z > 0: NaN falls through
    return a, Residuals(side_of_zero(z))


def relu_bwd(at_zero: float, residuals: Residuals, da: Float[Array, "*n"]) -> tuple[Float[Array, "*n"]]:
    dz = route(residuals.side, da, below=jnp.zeros_like(da), at_zero=da * float(at_zero))
    return (dz,)


relu.defvjp(relu_fwd, relu_bwd)
