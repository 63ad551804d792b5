"""Squared error, element by element."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import require_equal_shapes, shared_float_dtype


class Residuals(NamedTuple):
    """The error, all that the derivative depends on."""

    error: Float[Array, "*n"]


@jax.custom_vjp
def squared_error(prediction: Float[Array, "*n"], target: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""Returns $L = (y - \hat y)^2$ for each element, with $y$ the target and $\hat y$ the prediction.

    $$d\hat y = -2\,(y - \hat y)\,dL \qquad dy = 2\,(y - \hat y)\,dL$$

    There is no factor 1/2, as in REGRESSION.

    Shapes: equal, nothing broadcasts; `L` has the same shape and dtype (any real floating dtype).
    Residuals: $y - \hat y$.
    Raises: ValueError for shapes that differ, TypeError for integers and for dtypes that differ.
    Source: REGRESSION.

    >>> import jax, jax.numpy as jnp
    >>> float(jax.grad(squared_error)(jnp.float32(1.0), jnp.float32(3.0)))
    -4.0
    """
    return squared_error_fwd(prediction, target)[0]


def squared_error_fwd(
    prediction: Float[Array, "*n"], target: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Residuals]:
    shared_float_dtype("squared_error", prediction=prediction, target=target)
    require_equal_shapes("squared_error", prediction=prediction, target=target)
    error = jnp.asarray(target) - jnp.asarray(prediction)
    return error * error, Residuals(error)


def squared_error_bwd(residuals: Residuals, dL: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    (error,) = residuals
    dtarget = 2 * error * dL
    dprediction = -dtarget
    return dprediction, dtarget


squared_error.defvjp(squared_error_fwd, squared_error_bwd)
