r"""What a classifier's outputs $z$ cost, as rules of its own: `J = f(z, y)` for a batch of $N$ rows and integer labels.

With $a = \sigma(z)$, $t$ the labels as rows of 0 and 1, and $dJ$ the cotangent of $J$,

| name | $J$ | $dz$ |
| --- | --- | --- |
| `cross_entropy` | $-\tfrac1N \sum_{nk} t_{nk} \log p_{nk}$, $p = \mathrm{softmax}(z)$ | $(p - t)\,dJ/N$ |
| `quadratic` | $\tfrac1N \sum_n \tfrac12 \lVert a_n - t_n \rVert^2$ | $(a - t) \circ a \circ (1 - a)\,dJ/N$ |
| `sigmoid_cross_entropy` | $-\tfrac1N \sum_{nk} t \log a + (1 - t) \log (1 - a)$ | $(a - t)\,dJ/N$ |

The last two are those of M. Nielsen, Neural Networks and Deep Learning (2015), chapters 1 and 3.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer, Shaped

from jbackprop.layers.precision import widen
from jbackprop.layers.sigmoid import Residuals as SigmoidResiduals
from jbackprop.layers.sigmoid import sigmoid, sigmoid_bwd, sigmoid_fwd
from jbackprop.layers.softmax_cross_entropy import Residuals as PairResiduals
from jbackprop.layers.softmax_cross_entropy import (
    softmax_cross_entropy,
    softmax_cross_entropy_bwd,
    softmax_cross_entropy_fwd,
)
from jbackprop.layers.squared_error import Residuals as ErrorResiduals
from jbackprop.layers.squared_error import squared_error, squared_error_bwd, squared_error_fwd
from jbackprop.networks.rule import Rule, bind

Outputs = Float[Array, "n k"]
Classes = Integer[Array, " n"]


class QuadraticResiduals(NamedTuple):
    """What the sigmoid and the squared error save: `a`, and `t - a`."""

    sigmoid: SigmoidResiduals
    error: ErrorResiduals


def one_hot(labels: Classes, classes: int, dtype: DTypeLike) -> Shaped[Array, "n k"]:
    """Returns a row of zeros with one 1 for each label.

    >>> one_hot(jnp.array([2, 0]), 3, jnp.float32).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return (labels[:, None] == jnp.arange(classes, dtype=labels.dtype)).astype(dtype)


def quadratic(z: Outputs, labels: Classes) -> Float[Array, ""]:
    """Returns the mean of half the squared distance between sigmoid(z) and the label's row, for `jax.grad`.

    >>> float(quadratic(jnp.zeros((2, 3)), jnp.array([2, 0])))  # three outputs of 1/2
    0.375
    """
    a = sigmoid(z)
    return 0.5 * jnp.sum(squared_error(a, one_hot(labels, z.shape[1], z.dtype))) / len(z)


def quadratic_fwd(z: Outputs, labels: Classes) -> tuple[Float[Array, ""], QuadraticResiduals]:
    a, saved_sigmoid = sigmoid_fwd(z)
    squares, saved_error = squared_error_fwd(a, one_hot(labels, z.shape[1], z.dtype))
    return 0.5 * jnp.sum(squares) / len(z), QuadraticResiduals(saved_sigmoid, saved_error)


def quadratic_bwd(residuals: QuadraticResiduals, dJ: Float[Array, ""]) -> tuple[Outputs, None]:
    a = residuals.sigmoid.a
    dsquares = jnp.full_like(a, 0.5 / len(a)) * dJ
    da, _dt = squared_error_bwd(residuals.error, dsquares)
    (dz,) = sigmoid_bwd(residuals.sigmoid, da)
    return dz, None


def sigmoid_cross_entropy(z: Outputs, labels: Classes) -> Float[Array, ""]:
    r"""Returns the mean over rows of the cross-entropies of all outputs, one sigmoid each, for `jax.grad`.

    $a = \sigma(z)$ is the second of $\mathrm{softmax}(0, z)$: a softmax of two classes for each output.

    >>> float(sigmoid_cross_entropy(jnp.zeros((2, 3)), jnp.array([2, 0])))  # 3 log 2
    2.07944...
    """
    return softmax_cross_entropy(_zero_and(z), _right(labels, z.shape[1]), "sum") / len(z)


def sigmoid_cross_entropy_fwd(z: Outputs, labels: Classes) -> tuple[Float[Array, ""], PairResiduals]:
    J, saved = softmax_cross_entropy_fwd(_zero_and(z), _right(labels, z.shape[1]), "sum")
    return J / len(z), saved


def sigmoid_cross_entropy_bwd(residuals: PairResiduals, dJ: Float[Array, ""]) -> tuple[Outputs, None]:
    dpairs, _dlabels = softmax_cross_entropy_bwd("sum", residuals, dJ / len(residuals.logits))
    return dpairs[..., 1], None


def _zero_and(z: Outputs) -> Float[Array, "n k 2"]:
    return jnp.stack([jnp.zeros_like(z), z], axis=-1)


def _right(labels: Classes, classes: int) -> Integer[Array, "n k"]:
    return one_hot(labels, classes, labels.dtype)


CROSS_ENTROPY = bind(softmax_cross_entropy, softmax_cross_entropy_fwd, softmax_cross_entropy_bwd)
COSTS: dict[str, Rule] = {
    "cross_entropy": CROSS_ENTROPY,
    "quadratic": Rule(quadratic, quadratic_fwd, quadratic_bwd),
    "sigmoid_cross_entropy": Rule(sigmoid_cross_entropy, sigmoid_cross_entropy_fwd, sigmoid_cross_entropy_bwd),
}


def widened(cost: Rule) -> Rule:
    """Returns the cost computed in float32 at least, whatever the dtype of the outputs, which their cotangent keeps."""

    def f(z: Outputs, labels: Any) -> Float[Array, ""]:
        return cost.f(widen(z), labels)

    def fwd(z: Outputs, labels: Any) -> tuple[Float[Array, ""], Any]:
        J, saved = cost.fwd(widen(z), labels)
        return J, (saved, z.dtype)

    def bwd(residuals: Any, dJ: Float[Array, ""]) -> tuple[Outputs, None]:
        saved, dtype = residuals
        dz, _dlabels = cost.bwd(saved, dJ)
        return dz.astype(dtype), None

    return Rule(f, fwd, bwd)
