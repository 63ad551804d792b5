r"""A multi-layer perceptron: any number of affine layers, one activation between them, softmax cross-entropy.

With $a_0 = x$, layers $l = 1, \dots, L$ and $\sigma$ any element-wise rule (JACOBIAN: one hidden layer, ReLU),

$$z_l = a_{l-1} w_l + b_l \qquad a_l = \sigma(z_l) \;\; (l < L) \qquad
  J = -\tfrac1N \textstyle\sum_{nk} y_{nk} \log p_{nk}, \;\; p = \mathrm{softmax}(z_L)$$

and upwards, with $dv = \partial J / \partial v$ in the shape of $v$,

$$dz_L = (p - y)/N \qquad dw_l = a_{l-1}^\top dz_l \qquad db_l = \textstyle\sum_n dz_{l,n} \qquad
  da_{l-1} = dz_l\,w_l^\top \qquad dz_{l-1} = da_{l-1} \circ \sigma'(z_{l-1})$$

Shapes: `x` `(*n, i)`, `params[l]["w"]` `(i_l, o_l)`, `params[l]["b"]` `(o_l,)`; labels integers `(*n,)` or
probabilities `(*n, k)`.
Source: JACOBIAN, MLP example (its columns `W x` are rows `x w` here), carried to any depth and activation.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jbackprop.layers.linear import Residuals as LinearResiduals
from jbackprop.layers.linear import linear, linear_bwd, linear_fwd
from jbackprop.layers.softmax_cross_entropy import Labels
from jbackprop.networks.activations import activation_rule
from jbackprop.networks.costs import CROSS_ENTROPY
from jbackprop.networks.initial import check_widths, normal_weights
from jbackprop.networks.rule import Rule

Params = list[dict[str, Array]]


class Residuals(NamedTuple):
    """What each hidden layer saves, affine and activation, from the bottom up; then the last layer."""

    hidden: list[tuple[LinearResiduals, Any]]
    last: LinearResiduals


def init(key: jax.Array, sizes: Sequence[int], dtype: DTypeLike = jnp.float32, activation: str = "relu") -> Params:
    """Returns weights from N(0, 1/fan-in), 2/fan-in where a rectifier follows, and zero biases.

    Raises: ValueError for fewer than two widths and an unknown activation, TypeError for widths that are no integers.

    >>> [layer["w"].shape for layer in init(jax.random.key(0), (784, 512, 512, 10))]
    [(784, 512), (512, 512), (512, 10)]
    """
    activation_rule(activation)
    check_widths("mlp.init", sizes, least=2)
    keys = jax.random.split(key, len(sizes) - 1)
    followers = [activation] * (len(sizes) - 2) + ["identity"]
    return [
        {"w": normal_weights(key_l, (i, o), dtype, followed_by), "b": jnp.zeros(o, dtype)}
        for key_l, i, o, followed_by in zip(keys, sizes[:-1], sizes[1:], followers, strict=True)
    ]


def forward(
    params: Params, x: Float[Array, "*n i"], activation: str = "relu"
) -> tuple[Float[Array, "*n k"], Residuals]:
    """Returns the logits `z_L` and what the backward pass reads."""
    sigma = activation_rule(activation)
    *hidden, last = params
    saved = []
    a = x
    for layer in hidden:
        z, saved_linear = linear_fwd(a, layer["w"], layer["b"])
        a, saved_activation = sigma.fwd(z)
        saved.append((saved_linear, saved_activation))
    z, saved_linear = linear_fwd(a, last["w"], last["b"])
    return z, Residuals(saved, saved_linear)


def backward(params: Params, residuals: Residuals, d_out: Float[Array, "*n k"], activation: str = "relu") -> Params:
    """Returns the gradients of `params` for the cotangent `dz_L` of the logits: `forward` read upwards."""
    return backward_to_input(residuals, d_out, activation)[0]


def backward_to_input(
    residuals: Residuals, d_out: Float[Array, "*n k"], activation: str = "relu"
) -> tuple[Params, Float[Array, "*n i"]]:
    """Returns the gradients and `dx` as well, for a network that has this one at its end."""
    sigma = activation_rule(activation)
    da, dw, db = linear_bwd(residuals.last, d_out)
    grads = [{"w": dw, "b": db}]
    for saved_linear, saved_activation in reversed(residuals.hidden):
        (dz,) = sigma.bwd(saved_activation, da)
        da, dw, db = linear_bwd(saved_linear, dz)
        grads.append({"w": dw, "b": db})
    return grads[::-1], da


def loss(
    params: Params, x: Float[Array, "*n i"], y: Labels, activation: str = "relu", cost: Rule = CROSS_ENTROPY
) -> Float[Array, ""]:
    """Returns the mean cross-entropy `J`, or another of `costs`, composed of the decorated layers, for `jax.grad`."""
    sigma = activation_rule(activation)
    *hidden, last = params
    a = x
    for layer in hidden:
        z = linear(a, layer["w"], layer["b"])
        a = sigma.f(z)
    z = linear(a, last["w"], last["b"])
    return cost.f(z, y)


def loss_and_grads(
    params: Params, x: Float[Array, "*n i"], y: Labels, activation: str = "relu", cost: Rule = CROSS_ENTROPY
) -> tuple[Float[Array, ""], Params]:
    """Returns `J` and its gradients by the explicit backward pass; no automatic differentiation inside.

    >>> params = init(jax.random.key(0), (4, 3, 3, 2), activation="tanh")
    >>> J, grads = loss_and_grads(params, jnp.ones((5, 4)), jnp.array([0, 1, 1, 0, 1]), activation="tanh")
    >>> [layer["b"].shape for layer in grads]
    [(3,), (3,), (2,)]
    """
    z, residuals = forward(params, x, activation)
    J, saved_cost = cost.fwd(z, y)
    dz, _dy = cost.bwd(saved_cost, jnp.ones_like(J))
    return J, backward(params, residuals, dz, activation)
