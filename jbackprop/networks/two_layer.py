r"""The two-layer sigmoid classifier of TWO-LAYER: 784-h-10 on MNIST, mean cross-entropy over a batch of $B$ rows.

$$z_1 = x\,w_1 + b_1 \qquad a_1 = \sigma(z_1) \qquad z_2 = a_1 w_2 + b_2 \qquad p = \mathrm{softmax}(z_2) \qquad
  J = -\tfrac1B \textstyle\sum_{nk} y_{nk} \log p_{nk}$$

and upwards, with $dv = \partial J / \partial v$ in the shape of $v$,

$$dz_2 = (p - y)/B \qquad dw_2 = a_1^\top dz_2 \qquad db_2 = \textstyle\sum_n dz_{2,n} \qquad da_1 = dz_2\,w_2^\top$$
$$dz_1 = da_1 \circ a_1 \circ (1 - a_1) \qquad dw_1 = x^\top dz_1 \qquad db_1 = \textstyle\sum_n dz_{1,n}$$

Shapes: `x` `(B, d)`, `w1` `(d, h)`, `b1` `(h,)`, `w2` `(h, k)`, `b2` `(k,)`; labels integers `(B,)` or
probabilities `(B, k)`.
Source: TWO-LAYER (its columns are rows here; `b2` has k entries, not h).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jbackprop.layers.linear import Residuals as LinearResiduals
from jbackprop.layers.linear import linear, linear_bwd, linear_fwd
from jbackprop.layers.sigmoid import Residuals as SigmoidResiduals
from jbackprop.layers.sigmoid import sigmoid, sigmoid_bwd, sigmoid_fwd
from jbackprop.layers.softmax_cross_entropy import Labels
from jbackprop.networks.costs import CROSS_ENTROPY
from jbackprop.networks.initial import check_widths, normal_weights
from jbackprop.networks.rule import Rule

Params = dict[str, Any]  # of arrays


class Residuals(NamedTuple):
    """What each of the three layers saves: `x, w1`; `a1`; `a1, w2`."""

    linear1: LinearResiduals
    sigmoid1: SigmoidResiduals
    linear2: LinearResiduals


def init(key: jax.Array, sizes: Sequence[int], dtype: DTypeLike = jnp.float32) -> Params:
    """Returns weights from N(0, 1/fan-in) and zero biases for `sizes` = (d, h, k).

    Raises: ValueError unless there are three widths.

    >>> params = init(jax.random.key(0), (784, 300, 10))
    >>> {name: param.shape for name, param in params.items()}
    {'w1': (784, 300), 'b1': (300,), 'w2': (300, 10), 'b2': (10,)}
    """
    check_widths("two_layer.init", sizes, least=3)
    if len(sizes) > 3:
        raise ValueError(
            f"two_layer.init: sizes {tuple(sizes)} has more than 3 widths: use networks.mlp for more layers"
        )
    d, h, k = sizes
    key1, key2 = jax.random.split(key)
    return {
        "w1": normal_weights(key1, (d, h), dtype),
        "b1": jnp.zeros(h, dtype),
        "w2": normal_weights(key2, (h, k), dtype),
        "b2": jnp.zeros(k, dtype),
    }


def forward(params: Params, x: Float[Array, "*n d"]) -> tuple[Float[Array, "*n k"], Residuals]:
    """Returns the logits `z2` and what the backward pass reads."""
    z1, linear1 = linear_fwd(x, params["w1"], params["b1"])
    a1, sigmoid1 = sigmoid_fwd(z1)
    z2, linear2 = linear_fwd(a1, params["w2"], params["b2"])
    return z2, Residuals(linear1, sigmoid1, linear2)


def backward(params: Params, residuals: Residuals, d_out: Float[Array, "*n k"]) -> Params:
    """Returns the gradients of `params` for the cotangent `dz2` of the logits: `forward` read upwards."""
    dz2 = d_out
    da1, dw2, db2 = linear_bwd(residuals.linear2, dz2)
    (dz1,) = sigmoid_bwd(residuals.sigmoid1, da1)
    _dx, dw1, db1 = linear_bwd(residuals.linear1, dz1)
    return {"w1": dw1, "b1": db1, "w2": dw2, "b2": db2}


def loss(params: Params, x: Float[Array, "*n d"], y: Labels, cost: Rule = CROSS_ENTROPY) -> Float[Array, ""]:
    """Returns the mean cross-entropy `J`, or another of `costs`, composed of the decorated layers, for `jax.grad`."""
    z1 = linear(x, params["w1"], params["b1"])
    a1 = sigmoid(z1)
    z2 = linear(a1, params["w2"], params["b2"])
    return cost.f(z2, y)


def loss_and_grads(
    params: Params, x: Float[Array, "*n d"], y: Labels, cost: Rule = CROSS_ENTROPY
) -> tuple[Float[Array, ""], Params]:
    """Returns `J` and its gradients by the explicit backward pass; no automatic differentiation inside.

    >>> params = init(jax.random.key(0), (4, 3, 2))
    >>> J, grads = loss_and_grads(params, jnp.ones((5, 4)), jnp.array([0, 1, 1, 0, 1]))
    >>> {name: grad.shape for name, grad in grads.items()}
    {'w1': (4, 3), 'b1': (3,), 'w2': (3, 2), 'b2': (2,)}
    """
    z2, residuals = forward(params, x)
    J, saved_cost = cost.fwd(z2, y)
    dz2, _dy = cost.bwd(saved_cost, jnp.ones_like(J))
    return J, backward(params, residuals, dz2)
