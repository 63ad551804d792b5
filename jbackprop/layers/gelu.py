"""Gaussian error linear unit, in its exact form and in the usual tanh form."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import shared_float_dtype
from jbackprop.layers.precision import widen
from jbackprop.layers.static_arguments import custom_vjp_with_static

_C = math.sqrt(2 / math.pi)
_K = 0.044715


class Residuals(NamedTuple):
    """The input: everything else is a function of it."""

    z: Float[Array, "*n"]


@custom_vjp_with_static(1)
def gelu(z: Float[Array, "*n"], approximate: bool = True) -> Float[Array, "*n"]:
    r"""Returns $a = z\,\Phi(z)$; by default $\Phi(z) \approx \frac12 (1 + t)$, $t = \tanh u$, $u = c\,(z + k z^3)$.

    With $c = \sqrt{2/\pi}$, $k = 0.044715$ and $\varphi$ the normal density,

    $$dz = da \circ (\Phi(z) + z\,\varphi(z)) \qquad
      dz \approx da \circ \tfrac12 \big(1 + t + z\,(1 - t^2)\,c\,(1 + 3 k z^2)\big)$$

    Shapes: any; `a` has the shape and dtype of `z` (any real floating dtype); computed in float32 at least. At
    $-\infty$ the value is NaN ($-\infty \cdot 0$), and so are the derivatives at both infinities, of the tanh form from
    $|z| = 1.8 \cdot 10^{19}$ on, where $z^2$ overflows: all as in `jax.nn.gelu`. `approximate` is static.
    Residuals: `z`.
    Raises: TypeError for integers.
    Source: rule 4: JACOBIAN, identity 4; Hendrycks and Gimpel 2016 for the function.

    >>> import jax, jax.numpy as jnp
    >>> float(jax.grad(gelu)(jnp.float32(0.0)))
    0.5
    """
    return gelu_fwd(z, approximate)[0]


def gelu_fwd(z: Float[Array, "*n"], approximate: bool = True) -> tuple[Float[Array, "*n"], Residuals]:
    dtype = shared_float_dtype("gelu", z=z)
    z = jnp.asarray(z)
    wide = widen(z)
    if approximate:
        t = jnp.tanh(_C * (wide + _K * wide**3))
        a = wide * (1 + t) / 2
    else:
        a = wide * _normal_cdf(wide)
    return a.astype(dtype), Residuals(z)


def gelu_bwd(approximate: bool, residuals: Residuals, da: Float[Array, "*n"]) -> tuple[Float[Array, "*n"]]:
    z = widen(residuals.z)
    if approximate:
        t = jnp.tanh(_C * (z + _K * z**3))
        slope = (1 + t + z * (1 - t) * (1 + t) * _C * (1 + 3 * _K * z**2)) / 2
    else:
        slope = _normal_cdf(z) + z * jnp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    dz = widen(da) * slope
    return (dz.astype(da.dtype),)


gelu.defvjp(gelu_fwd, gelu_bwd)


def _normal_cdf(z: Array) -> Array:
    return jax.lax.erfc(-z / math.sqrt(2)) / 2
