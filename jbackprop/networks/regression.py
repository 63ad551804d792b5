r"""Linear regression, and two stacked layers with or without a sigmoid between them: the networks of REGRESSION.

One layer, $\hat y = x w + b$, with the squared error of a single sample or its mean over $N$ samples of one output,

$$L = (y - \hat y)^2 \;\; d\hat y = -2\,(y - \hat y) \qquad\text{or}\qquad
  L = \tfrac1N \textstyle\sum_n (y_n - \hat y_n)^2 \;\; d\hat y_n = -\tfrac2N (y_n - \hat y_n)$$
$$dw = x^\top d\hat y \qquad db = \textstyle\sum_n d\hat y_n$$

Two layers, with $\sigma$ the identity (stacked linear layers) or the sigmoid:

$$h = x\,w_1 + b_1 \qquad s = \sigma(h) \qquad \hat y = s\,w_2 + b_2$$
$$dw_2 = s^\top d\hat y \qquad db_2 = \textstyle\sum_n d\hat y_n \qquad ds = d\hat y\,w_2^\top$$
$$dh = ds \circ \sigma'(h) \;\; (= ds \circ s \circ (1 - s) \text{ for the sigmoid}) \qquad
  dw_1 = x^\top dh \qquad db_1 = \textstyle\sum_n dh_n$$

Shapes: `x` `(*n, i)`, `w` `(i, o)`, `b` `(o,)`, `y` and `ŷ` `(*n, o)` with o = 1 in the source. No factor 1/2.
Source: REGRESSION (its last display is `dL/db(1)`, and the product with `s(1 - s)` is element by element).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jbackprop.layers.linear import Residuals as LinearResiduals
from jbackprop.layers.linear import linear, linear_bwd, linear_fwd
from jbackprop.layers.mean_squared_error import mean_squared_error, mean_squared_error_bwd, mean_squared_error_fwd
from jbackprop.layers.squared_error import squared_error, squared_error_bwd, squared_error_fwd
from jbackprop.networks.activations import activation_rule
from jbackprop.networks.initial import check_widths, normal_weights

Params = dict[str, Any]  # of arrays


class Residuals(NamedTuple):
    """What each layer saves, from the bottom up; one layer leaves the first two empty."""

    linear1: LinearResiduals | None
    hidden: Any
    linear2: LinearResiduals


def init(key: jax.Array, sizes: Sequence[int], dtype: DTypeLike = jnp.float32, hidden: str = "identity") -> Params:
    """Returns `{w, b}` for two widths and `{w1, b1, w2, b2}` for three: weights from N(0, 1/fan-in), zero biases.

    Raises: ValueError for any other number of widths and for an unknown `hidden` activation.

    >>> sorted(init(jax.random.key(0), (3, 1))), sorted(init(jax.random.key(0), (3, 2, 1)))
    (['b', 'w'], ['b1', 'b2', 'w1', 'w2'])
    """
    activation_rule(hidden)
    check_widths("regression.init", sizes, least=2)
    if len(sizes) > 3:
        raise ValueError(
            f"regression.init: sizes {tuple(sizes)} has more than 3 widths: use networks.mlp or deep instead"
        )
    if len(sizes) == 2:
        return {"w": normal_weights(key, (sizes[0], sizes[1]), dtype), "b": jnp.zeros(sizes[1], dtype)}
    i, h, o = sizes
    key1, key2 = jax.random.split(key)
    return {
        "w1": normal_weights(key1, (i, h), dtype, followed_by=hidden),
        "b1": jnp.zeros(h, dtype),
        "w2": normal_weights(key2, (h, o), dtype),
        "b2": jnp.zeros(o, dtype),
    }


def forward(
    params: Params, x: Float[Array, "*n i"], hidden: str = "identity"
) -> tuple[Float[Array, "*n o"], Residuals]:
    """Returns the prediction `ŷ` and what the backward pass reads."""
    if "w" in params:
        prediction, linear2 = linear_fwd(x, params["w"], params["b"])
        return prediction, Residuals(None, None, linear2)
    sigma = activation_rule(hidden)
    h, linear1 = linear_fwd(x, params["w1"], params["b1"])
    s, saved = sigma.fwd(h)
    prediction, linear2 = linear_fwd(s, params["w2"], params["b2"])
    return prediction, Residuals(linear1, saved, linear2)


def backward(params: Params, residuals: Residuals, d_out: Float[Array, "*n o"], hidden: str = "identity") -> Params:
    """Returns the gradients of `params` for the cotangent `dŷ` of the prediction: `forward` read upwards."""
    if residuals.linear1 is None:
        _dx, dw, db = linear_bwd(residuals.linear2, d_out)
        return {"w": dw, "b": db}
    sigma = activation_rule(hidden)
    ds, dw2, db2 = linear_bwd(residuals.linear2, d_out)
    (dh,) = sigma.bwd(residuals.hidden, ds)
    _dx, dw1, db1 = linear_bwd(residuals.linear1, dh)
    return {"w1": dw1, "b1": db1, "w2": dw2, "b2": db2}


def loss(
    params: Params, x: Float[Array, "*n i"], y: Float[Array, "*n o"], hidden: str = "identity"
) -> Float[Array, ""]:
    """Returns the mean squared error, of a single prediction the squared error, composed of the decorated layers."""
    if "w" in params:
        prediction = linear(x, params["w"], params["b"])
    else:
        h = linear(x, params["w1"], params["b1"])
        s = activation_rule(hidden).f(h)
        prediction = linear(s, params["w2"], params["b2"])
    if prediction.size == 1:
        return squared_error(prediction, y).reshape(())
    return mean_squared_error(prediction, y)


def loss_and_grads(
    params: Params, x: Float[Array, "*n i"], y: Float[Array, "*n o"], hidden: str = "identity"
) -> tuple[Float[Array, ""], Params]:
    """Returns `L` and its gradients by the explicit backward pass; no automatic differentiation inside.

    >>> params = {"w": jnp.array([[1.0], [2.0], [3.0]]), "b": jnp.array([0.5])}
    >>> x, y = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([[0.5]])
    >>> L, grads = loss_and_grads(params, x, y)  # ŷ = -1.5, dŷ = -2 (0.5 + 1.5) = -4
    >>> float(L), grads["w"].ravel().tolist(), grads["b"].tolist()
    (4.0, [-4.0, -0.0, 4.0], [-4.0])
    """
    prediction, residuals = forward(params, x, hidden)
    if prediction.size == 1:
        L, saved = squared_error_fwd(prediction, y)
        d_prediction, _dy = squared_error_bwd(saved, jnp.ones_like(L))
    else:
        L, saved = mean_squared_error_fwd(prediction, y)
        d_prediction, _dy = mean_squared_error_bwd("mean", saved, jnp.ones_like(L))
    return L.reshape(()), backward(params, residuals, d_prediction, hidden)
