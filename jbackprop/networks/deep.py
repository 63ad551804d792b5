r"""The bias-free network of DEEP: T layers and one number out, through `lax.scan` or with a width for each layer.

With $z_0 = x$ and $t = 1, \dots, T$,

$$u_t = z_{t-1} W_t \qquad z_t = \sigma(u_t) \qquad \hat y = \alpha \cdot z_T$$

and, from T down to 1, with $dv = \partial \hat y / \partial v$ times the cotangent $d\hat y$ of each example,

$$d\alpha = \textstyle\sum_n z_{T,n}\,d\hat y_n \qquad dz_T = d\hat y\,\alpha \qquad
  du_t = dz_t \circ \sigma'(u_t) \qquad dW_t = z_{t-1}^\top du_t \qquad dz_{t-1} = du_t W_t^\top$$

Only the $z_t$ are stored: $\sigma'(u_t)$ is read off $z_t$ where that is possible (sigmoid, tanh, ReLU), and
elsewhere $u_t = z_{t-1} W_t$ is formed again. Layers of one width are one `(T, K, K)` array that `lax.scan` runs
through forwards and backwards, so compile time does not grow with T; other widths are a list of matrices.

Shapes: `x` `(*n, K_0)`, `W_t` `(K_{t-1}, K_t)`, `alpha` `(K_T,)`, `ŷ` and `y` `(*n,)`.
Source: DEEP (its columns `W z` are rows `z W` here, its K and d are one width, and it leaves out `dα`), Question 2.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jbackprop.layers.linear import Residuals as LinearResiduals
from jbackprop.layers.linear import linear, linear_bwd, linear_fwd
from jbackprop.layers.mean_squared_error import mean_squared_error, mean_squared_error_bwd, mean_squared_error_fwd
from jbackprop.layers.relu import relu_fwd
from jbackprop.layers.sigmoid import Residuals as SigmoidResiduals
from jbackprop.layers.tanh import Residuals as TanhResiduals
from jbackprop.networks.activations import activation_rule
from jbackprop.networks.initial import check_widths, normal_weights

Layers = Array | list[Array] | tuple[Array, ...]
Params = dict[str, Any]  # "layers": Layers, "alpha": Array

# The residuals of σ at u as a function of its output z alone. Two rectifiers are not in the table: relu is 0 for all
# u ≤ 0, so that DEEP's σ'(0) = 1 cannot be told from σ'(-1) = 0; and leaky_relu is 0 where slope * u underflows, so
# that a small u < 0 cannot be told from u = 0.
RESIDUALS_FROM_OUTPUT: dict[str, Callable[[Array], Any]] = {
    "sigmoid": SigmoidResiduals,
    "tanh": TanhResiduals,
    "relu": lambda z: relu_fwd(z)[1],
}


class Residuals(NamedTuple):
    """The input `z_{t-1}` of each layer, `(T, *n, K)` or a list, and `z_T`."""

    inputs: Layers
    z_T: Float[Array, "*n K_T"]


def init(key: jax.Array, sizes: Sequence[int], dtype: DTypeLike = jnp.float32, activation: str = "relu") -> Params:
    """Returns `{"layers", "alpha"}` for widths (K_0, ..., K_T): a `(T, K, K)` array if they are equal, else a list.

    Weights from N(0, 1/fan-in), 2/fan-in where a rectifier follows.
    Raises: ValueError for fewer than two widths and for an unknown activation.

    >>> init(jax.random.key(0), (8, 8, 8, 8))["layers"].shape
    (3, 8, 8)
    >>> [W.shape for W in init(jax.random.key(0), (4, 8, 3))["layers"]]
    [(4, 8), (8, 3)]
    """
    check_widths("deep.init", sizes, least=2)
    *keys, key_alpha = jax.random.split(key, len(sizes))
    widths = zip(keys, sizes[:-1], sizes[1:], strict=True)
    layers = [normal_weights(key_t, (i, o), dtype, followed_by=activation) for key_t, i, o in widths]
    alpha = normal_weights(key_alpha, (sizes[-1], 1), dtype)[:, 0]
    return {"layers": jnp.stack(layers) if len(set(sizes)) == 1 else layers, "alpha": alpha}


def forward(
    params: Params, x: Float[Array, "*n K_0"], activation: str = "relu"
) -> tuple[Float[Array, "*n"], Residuals]:
    """Returns `ŷ` for each example, and every `z_t`."""
    sigma = activation_rule(activation)

    def layer(z, read):
        _, W = read
        u, _ = linear_fwd(z, W)
        z_next, _ = sigma.fwd(u)
        return z_next, z

    z_T, inputs = _run(layer, x, params["layers"])
    prediction, _ = linear_fwd(z_T, params["alpha"][:, None])
    return prediction[..., 0], Residuals(inputs, z_T)


def backward(params: Params, residuals: Residuals, d_out: Float[Array, "*n"], activation: str = "relu") -> Params:
    """Returns the gradients of `params` for the cotangent `dŷ`; with `dŷ = 1`, DEEP's ∂ŷ/∂W_t and ∂ŷ/∂α."""
    sigma = activation_rule(activation)

    def layer(carry, read):
        z, dz = carry
        z_previous, W = read
        (du,) = sigma.bwd(_residuals_of_sigma(activation, z, z_previous, W), dz)
        dz_previous, dW, _ = linear_bwd(LinearResiduals(z_previous, W, None), du)
        return (z_previous, dz_previous), dW

    alpha = params["alpha"][:, None]
    dz_T, dalpha, _ = linear_bwd(LinearResiduals(residuals.z_T, alpha, None), d_out[..., None])
    _, dlayers = _run(layer, (residuals.z_T, dz_T), params["layers"], residuals.inputs, reverse=True)
    return {"layers": dlayers, "alpha": dalpha[:, 0]}


def loss(
    params: Params, x: Float[Array, "*n K_0"], y: Float[Array, "*n"], activation: str = "relu"
) -> Float[Array, ""]:
    """Returns the mean squared error of `ŷ`, composed of the decorated layers, for `jax.grad`."""
    sigma = activation_rule(activation)

    def layer(z, read):
        _, W = read
        u = linear(z, W)
        return sigma.f(u), None

    z_T, _ = _run(layer, x, params["layers"])
    prediction = linear(z_T, params["alpha"][:, None])
    return mean_squared_error(prediction[..., 0], y)


def loss_and_grads(
    params: Params, x: Float[Array, "*n K_0"], y: Float[Array, "*n"], activation: str = "relu"
) -> tuple[Float[Array, ""], Params]:
    """Returns the loss and its gradients by the explicit backward pass; no automatic differentiation inside.

    >>> params = init(jax.random.key(0), (4, 4, 4))
    >>> L, grads = loss_and_grads(params, jnp.ones((5, 4)), jnp.zeros(5))
    >>> grads["layers"].shape, grads["alpha"].shape
    ((2, 4, 4), (4,))
    """
    prediction, residuals = forward(params, x, activation)
    L, saved = mean_squared_error_fwd(prediction, y)
    d_prediction, _dy = mean_squared_error_bwd("mean", saved, jnp.ones_like(L))
    return L, backward(params, residuals, d_prediction, activation)


def _residuals_of_sigma(activation: str, z: Array, z_previous: Array, W: Array) -> Any:
    if activation in RESIDUALS_FROM_OUTPUT:
        return RESIDUALS_FROM_OUTPUT[activation](z)
    u, _ = linear_fwd(z_previous, W)
    return activation_rule(activation).fwd(u)[1]


def _run(layer: Callable[..., Any], carry: Any, layers: Layers, saved: Any = None, reverse: bool = False):
    """`lax.scan` of `carry, out = layer(carry, (saved_t, W_t))` over a stacked array; the same loop over a list.

    The `out` of each layer come back in the container of `layers`: the gradients form the tree of the parameters.
    """
    if not isinstance(layers, list | tuple):
        return jax.lax.scan(layer, carry, (saved, layers), reverse=reverse)
    outs = []
    steps = list(zip(saved or [None] * len(layers), layers, strict=True))
    for step in reversed(steps) if reverse else steps:
        carry, out = layer(carry, step)
        outs.append(out)
    return carry, jax.tree.unflatten(jax.tree.structure(layers), outs[::-1] if reverse else outs)
