"""Mean squared error, the loss of regression."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jbackprop.layers.argument_checks import require_equal_shapes, shared_float_dtype
from jbackprop.layers.precision import widen
from jbackprop.layers.reductions import check_reduction, reduce_elements, spread_cotangent
from jbackprop.layers.static_arguments import custom_vjp_with_static


class Residuals(NamedTuple):
    """The error, all that the derivative depends on."""

    error: Float[Array, "*n"]


@custom_vjp_with_static(2)
def mean_squared_error(
    prediction: Float[Array, "*n"], target: Float[Array, "*n"], reduction: str = "mean"
) -> Float[Array, "..."]:
    r"""Returns $L = \frac1N \sum_n (y_n - \hat y_n)^2$ over all $N$ elements, or their sum, or each by itself.

    With $dL_n$ the cotangent of one element ($dL / N$ under the mean),

    $$d\hat y_n = -2\,(y_n - \hat y_n)\,dL_n \qquad dy_n = 2\,(y_n - \hat y_n)\,dL_n$$

    REGRESSION averages over the examples of a scalar prediction; here the mean is over all elements of the prediction,
    which is the same for one output.

    Shapes: equal, nothing broadcasts; `L` is `()` under `"mean"` and `"sum"` and has the shape of the arguments under
    `"none"`; same dtype (any real floating dtype); the sum is carried in float32 at least. `reduction` is static.
    Residuals: $y - \hat y$.
    Raises: ValueError for shapes that differ, an unknown reduction, and the mean of nothing; TypeError for integers and
    for dtypes that differ.
    Source: REGRESSION.

    >>> import jax, jax.numpy as jnp
    >>> jax.grad(mean_squared_error)(jnp.array([1.0, 2.0]), jnp.array([3.0, 5.0])).tolist()
    [-2.0, -3.0]
    """
    return mean_squared_error_fwd(prediction, target, reduction)[0]


def mean_squared_error_fwd(
    prediction: Float[Array, "*n"], target: Float[Array, "*n"], reduction: str = "mean"
) -> tuple[Float[Array, "..."], Residuals]:
    dtype = shared_float_dtype("mean_squared_error", prediction=prediction, target=target)
    require_equal_shapes("mean_squared_error", prediction=prediction, target=target)
    check_reduction("mean_squared_error", reduction, jnp.shape(prediction))
    error = jnp.asarray(target) - jnp.asarray(prediction)
    return reduce_elements(widen(error) * widen(error), reduction).astype(dtype), Residuals(error)


def mean_squared_error_bwd(
    reduction: str, residuals: Residuals, dL: Float[Array, "..."]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    error = widen(residuals.error)
    dL_n = spread_cotangent(widen(dL), reduction, error.shape)
    dprediction = -2 * error * dL_n
    dtarget = 2 * error * dL_n
    return dprediction.astype(dL.dtype), dtarget.astype(dL.dtype)


mean_squared_error.defvjp(mean_squared_error_fwd, mean_squared_error_bwd)
