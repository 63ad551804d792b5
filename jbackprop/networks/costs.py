r"""What a classifier's outputs $z$ cost, as rules of its own: `J = f(z, y)` for a batch of $N$ rows and integer labels.

With $a = \sigma(z)$, $t$ the labels as rows of 0 and 1, and $dJ$ the cotangent of $J$,

| name | $J$ | $dz$ |
| --- | --- | --- |
| `cross_entropy` | $-\tfrac1N \sum_{nk} t_{nk} \log p_{nk}$, $p = \mathrm{softmax}(z)$ | $(p - t)\,dJ/N$ |
| `quadratic` | $\tfrac1N \sum_n \tfrac12 \lVert a_n - t_n \rVert^2$ | $(a - t) \circ a \circ (1 - a)\,dJ/N$ |
| `sigmoid_cross_entropy` | $-\tfrac1N \sum_{nk} t \log a + (1 - t) \log (1 - a)$ | $(a - t)\,dJ/N$ |

The last two are those of M. Nielsen, Neural Networks and Deep Learning (2015), chapters 1 and 3. As under
`softmax_cross_entropy`, a label below 0 or from $k$ on gives NaN, in its row's gradient and in the loss.
Raises: ValueError for shapes that do not fit, for no classes and for an empty batch; TypeError for integer outputs and
for labels that are no integers: of the three, `cross_entropy` alone takes probabilities.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer, Shaped

from jbackprop.layers.argument_checks import require_array, shared_float_dtype
from jbackprop.layers.class_indices import class_indices
from jbackprop.layers.precision import nan, widen
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
    """Returns a row of zeros with one 1 for each label; a label that is no class has none.

    >>> one_hot(jnp.array([2, 0]), 3, jnp.float32).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    index, _in_range = class_indices(labels, classes)
    return (index == jnp.arange(classes, dtype=index.dtype)).astype(dtype)


def quadratic(z: Outputs, labels: Classes) -> Float[Array, ""]:
    """Returns the mean of half the squared distance between sigmoid(z) and the label's row, for `jax.grad`.

    >>> float(quadratic(jnp.zeros((2, 3)), jnp.array([2, 0])))  # three outputs of 1/2
    0.375
    """
    _check("quadratic", z, labels)
    return 0.5 * jnp.sum(squared_error(sigmoid(z), _targets(labels, z))) / z.shape[0]


def quadratic_fwd(z: Outputs, labels: Classes) -> tuple[Float[Array, ""], QuadraticResiduals]:
    _check("quadratic", z, labels)
    a, saved_sigmoid = sigmoid_fwd(z)
    squares, saved_error = squared_error_fwd(a, _targets(labels, z))
    return 0.5 * jnp.sum(squares) / z.shape[0], QuadraticResiduals(saved_sigmoid, saved_error)


def quadratic_bwd(residuals: QuadraticResiduals, dJ: Float[Array, ""]) -> tuple[Outputs, None]:
    a = residuals.sigmoid.a
    dsquares = jnp.full_like(a, 0.5) * (dJ / a.shape[0])
    da, _dt = squared_error_bwd(residuals.error, dsquares)
    (dz,) = sigmoid_bwd(residuals.sigmoid, da)
    return dz, None


def sigmoid_cross_entropy(z: Outputs, labels: Classes) -> Float[Array, ""]:
    r"""Returns the mean over rows of the cross-entropies of all outputs, one sigmoid each, for `jax.grad`.

    $a = \sigma(z)$ is the second of $\mathrm{softmax}(0, z)$: a softmax of two classes for each output.

    >>> float(sigmoid_cross_entropy(jnp.zeros((2, 3)), jnp.array([2, 0])))  # 3 log 2
    2.07944...
    """
    _check("sigmoid_cross_entropy", z, labels)
    return softmax_cross_entropy(_zero_and(z), _right(labels, z.shape[1]), "sum") / z.shape[0]


def sigmoid_cross_entropy_fwd(z: Outputs, labels: Classes) -> tuple[Float[Array, ""], PairResiduals]:
    _check("sigmoid_cross_entropy", z, labels)
    J, saved = softmax_cross_entropy_fwd(_zero_and(z), _right(labels, z.shape[1]), "sum")
    return J / z.shape[0], saved


def sigmoid_cross_entropy_bwd(residuals: PairResiduals, dJ: Float[Array, ""]) -> tuple[Outputs, None]:
    dpairs, _dlabels = softmax_cross_entropy_bwd("sum", residuals, dJ / residuals.logits.shape[0])
    return dpairs[..., 1], None


def _zero_and(z: Outputs) -> Float[Array, "n k 2"]:
    return jnp.stack([jnp.zeros_like(z), z], axis=-1)


def _targets(labels: Classes, z: Outputs) -> Outputs:
    """Returns the labels as rows of 0 and 1, and of NaN where a label is no class."""
    _index, in_range = class_indices(labels, z.shape[1])
    return jnp.where(in_range, one_hot(labels, z.shape[1], z.dtype), nan(z.dtype))


def _right(labels: Classes, classes: int) -> Integer[Array, "n k"]:
    """Returns the class of each pair; there is no third one, so a row whose label is no class has the loss NaN."""
    _index, in_range = class_indices(labels, classes)
    return jnp.where(in_range, one_hot(labels, classes, jnp.int32), 2)


def _check(function: str, z: Outputs, labels: Classes) -> None:
    shared_float_dtype(function, z=z)
    require_array(function, "labels", labels)
    shapes = f"(z {jnp.shape(z)}, labels {jnp.shape(labels)})"
    if jnp.ndim(z) != 2 or jnp.shape(z)[1] == 0:
        raise ValueError(
            f"{function}: z needs the shape (rows, classes), at least one class {shapes}: "
            f"give z.reshape(-1, classes) and labels.ravel()"
        )
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise TypeError(
            f"{function}: labels are {jnp.result_type(labels).name}, not class indices {shapes}: "
            f"give labels.argmax(-1) of one-hot rows; cross_entropy alone takes probabilities"
        )
    if jnp.shape(labels) != jnp.shape(z)[:1]:
        raise ValueError(
            f"{function}: integer labels need one class index a row, shape {jnp.shape(z)[:1]} {shapes}: "
            f"squeeze them, or give labels.argmax(-1) of one-hot rows"
        )
    if jnp.shape(z)[0] == 0:
        raise ValueError(f"{function}: the mean of an empty batch {shapes} does not exist: leave empty batches out")


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
