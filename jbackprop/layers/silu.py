"""Sigmoid linear unit, also called swish."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype
from jbackprop.layers.precision import widen


class Residuals(NamedTuple):
    """The input: the sigmoid costs less to recompute than to keep."""

    z: Float[Array, "*n"]


@jax.custom_vjp
def silu(z: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""Returns $a = z\,\sigma(z)$, with $s = \sigma(z)$.

    $$dz = da \circ s \circ (1 + z \circ (1 - s))$$

    Shapes: any; `a` has the shape and dtype of `z` (any real floating dtype); computed in float32 at least. At
    $-\infty$ the value is NaN ($-\infty \cdot 0$), and so are the derivatives at both infinities, as in `jax.nn.silu`.
    Residuals: `z`.
    Raises: TypeError for integers.
    Source: rule 4: JACOBIAN, identity 4.

    >>> import jax, jax.numpy as jnp
    >>> float(jax.grad(silu)(jnp.float32(0.0)))
    0.5
    """
    return silu_fwd(z)[0]


def silu_fwd(z: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Residuals]:
    dtype = shared_float_dtype("silu", z=z)
    z = jnp.asarray(z)
    wide = widen(z)
    a = wide * jax.lax.logistic(wide)
    return a.astype(dtype), Residuals(z)


def silu_bwd(residuals: Residuals, da: Float[Array, "*n"]) -> tuple[Float[Array, "*n"]]:
    z = widen(residuals.z)
    s = jax.lax.logistic(z)
    dz = widen(da) * s * (1 + z * (1 - s))
    return (dz.astype(da.dtype),)


silu.defvjp(silu_fwd, silu_bwd)
