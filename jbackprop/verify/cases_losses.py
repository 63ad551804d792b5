"""Registry: softmax and the losses."""

from functools import partial

import jax
import jax.numpy as jnp

from jbackprop.layers.log_softmax import log_softmax
from jbackprop.layers.mean_squared_error import mean_squared_error
from jbackprop.layers.softmax import softmax
from jbackprop.layers.softmax_cross_entropy import softmax_cross_entropy
from jbackprop.layers.squared_error import squared_error
from jbackprop.verify.benchmarks import cross_entropy_of_optax, of_classes, of_matrices
from jbackprop.verify.case import Example, Refused, RuleCase, Special
from jbackprop.verify.samples import normals, with_class_indices, with_probabilities

NAN, INF = float("nan"), float("inf")
_REDUCE = {"mean": jnp.mean, "sum": jnp.sum, "none": lambda elements: elements}


def _cross_entropy(logits, labels, reduction="mean"):
    if jnp.issubdtype(labels.dtype, jnp.integer):
        labels = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return _REDUCE[reduction](-jnp.sum(labels * jax.nn.log_softmax(logits), -1))


def _squared_error(prediction, target, reduction="none"):
    return _REDUCE[reduction](jnp.square(target - prediction))


def _softmax_case(name, function, reference, formula, residuals, special):
    return RuleCase(
        name=name,
        function=function,
        formula=formula,
        shapes="any; classes along `axis`",
        residuals=residuals,
        convention="one +inf takes all, -inf none; two +inf, or -inf alone, are NaN",
        source="TWO-LAYER; JACOBIAN",
        examples=(
            Example("rows", normals((3, 5)), reference),
            Example("axis 0", normals((3, 4)), partial(reference, axis=0), {"axis": 0}),
            Example("empty batch", normals((0, 3)), reference),
        ),
        special=special,
        refused=(
            Refused(
                "no classes",
                lambda: (jnp.ones((2, 0)),),
                ValueError,
                f"{name}: z has shape (2, 0): there are no classes along axis -1: give one at least",
            ),
            Refused(
                "scalar",
                lambda: (jnp.float32(1),),
                ValueError,
                f"{name}: z has shape () and no axis -1: give an array with one for classes",
            ),
            Refused(
                "an axis behind the last",
                lambda: (jnp.ones((1, 3)),),
                ValueError,
                f"{name}: z has shape (1, 3) and no axis 3: choose one from -2 to 1",
                {"axis": 3},
            ),
            Refused("integers", lambda: (jnp.ones((2, 3), jnp.uint8),), TypeError, f"{name}: z is uint8"),
        ),
        benchmarks=of_classes(normals, reference, (128, 1000)),
    )


def _error_refusals(name):
    return (
        Refused(
            "(n, 1) against (n,)",
            lambda: (jnp.ones((3, 1)), jnp.ones(3)),
            ValueError,
            f"{name}: prediction has shape (3, 1) but target has shape (3,): they must be equal, nothing is broadcast",
        ),
        Refused(
            "integer target",
            lambda: (jnp.ones(3), jnp.ones(3, jnp.int32)),
            TypeError,
            f"{name}: target is int32, not a real floating dtype: cast it, target.astype(jnp.float32)",
        ),
    )


LOSS_RULES = (
    _softmax_case(
        "softmax",
        softmax,
        jax.nn.softmax,
        "dz = p ∘ (dp - Σ_j dp_j p_j)",
        "z, the sum of each row",
        (
            Special("large", ([1e4, 0.0],), [1.0, 0.0], ([0.0, 0.0],)),
            Special("a masked class", ([0.0, -INF, 0.0],), [0.5, 0.0, 0.5], ([0.0, 0.0, 0.0],)),
            Special("one +inf", ([INF, 0.0],), [1.0, 0.0], ([0.0, 0.0],)),
            Special("two +inf", ([INF, INF, 0.0],), [NAN] * 3, ([NAN] * 3,)),
            Special("nothing but -inf", ([-INF, -INF],), [NAN] * 2, ([NAN] * 2,)),
            Special("NaN", ([[NAN, 0.0], [0.0, 0.0]],), [[NAN, NAN], [0.5, 0.5]], ([[NAN, NAN], [0.0, 0.0]],)),
        ),
    ),
    _softmax_case(
        "log_softmax",
        log_softmax,
        jax.nn.log_softmax,
        "dz = dy - p Σ_j dy_j,  p = exp(y)",
        "z, the sum of each row",
        (
            Special("large", ([1e4, 0.0],), [0.0, -1e4], ([-1.0, 1.0],)),
            Special("one +inf", ([INF, 0.0],), [0.0, -INF], ([-1.0, 1.0],)),
            Special("two +inf", ([INF, INF],), [NAN] * 2, ([NAN] * 2,)),
            Special("nothing but -inf", ([-INF, -INF],), [NAN] * 2, ([NAN] * 2,)),
            Special("NaN", ([NAN, 0.0],), [NAN] * 2, ([NAN] * 2,)),
        ),
    ),
    RuleCase(
        name="softmax_cross_entropy",
        function=softmax_cross_entropy,
        formula="dz = (p - y) dJ    (p Σ_j y_j - y) dJ for labels that do not add up to 1;   dy = -log p dJ",
        shapes="logits (*n, k)   labels integers (*n,) or probabilities (*n, k)   J () or (*n,)",
        residuals="logits, labels, the sum of each row",
        convention="a label outside 0..k-1 gives NaN in its row; 0 log 0 = 0; infinities as softmax",
        source="TWO-LAYER; JACOBIAN",
        examples=(
            Example("class indices", with_class_indices((4, 5)), _cross_entropy),
            *(
                Example(
                    f"class indices, {reduction}",
                    with_class_indices((2, 3, 5)),
                    partial(_cross_entropy, reduction=reduction),
                    {"reduction": reduction},
                )
                for reduction in ("sum", "none")
            ),
            Example("probabilities", with_probabilities((4, 5)), _cross_entropy),
            Example(
                "labels that do not add up to 1",
                normals((4, 5), (4, 5)),
                partial(_cross_entropy, reduction="none"),
                {"reduction": "none"},
            ),
            Example("one example", with_class_indices((5,)), _cross_entropy),
            Example(
                "empty batch, sum",
                with_class_indices((0, 5)),
                partial(_cross_entropy, reduction="sum"),
                {"reduction": "sum"},
            ),
        ),
        special=(
            Special("sure and right", ([[1e4, 0.0]], [0]), 0.0, ([[0.0, 0.0]], None)),
            Special("sure and wrong", ([[1e4, 0.0]], [1]), 1e4, ([[1.0, -1.0]], None)),
            Special(
                "labels out of range",
                ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [2, -1, 0]),
                [NAN, NAN, 0.6931472],
                ([[NAN, NAN], [NAN, NAN], [-0.5, 0.5]], None),
                {"reduction": "none"},
            ),
            Special(
                "a label out of range spoils the mean, and only its own row's gradient",
                ([[0.0, 0.0], [0.0, 0.0]], [5, 1]),
                NAN,
                ([[NAN, NAN], [0.25, -0.25]], None),
            ),
            Special("a masked class", ([[0.0, -INF]], [0]), 0.0, ([[0.0, 0.0]], None)),
            Special("a masked class is the label", ([[0.0, -INF]], [1]), INF, ([[1.0, -1.0]], None)),
            Special("0 log 0", ([[0.0, -INF]], [[1.0, 0.0]]), 0.0, ([[0.0, 0.0]], [[0.0, INF]])),
            Special("one +inf", ([[INF, 0.0]], [0]), 0.0, ([[0.0, 0.0]], None)),
            Special("two +inf", ([[INF, INF]], [0]), NAN, ([[NAN, NAN]], None)),
            Special("nothing but -inf", ([[-INF, -INF]], [0]), NAN, ([[NAN, NAN]], None)),
            Special("NaN", ([[NAN, 0.0]], [1]), NAN, ([[NAN, NAN]], None)),
        ),
        refused=(
            Refused(
                "empty batch",
                lambda: (jnp.ones((0, 3)), jnp.ones(0, int)),
                ValueError,
                "softmax_cross_entropy: the mean of an empty batch (shape (0,), N = 0) does not exist",
            ),
            Refused(
                "labels as a column",
                lambda: (jnp.ones((4, 3)), jnp.ones((4, 1), int)),
                ValueError,
                "one class index a row, shape (4,) (logits (4, 3), labels (4, 1))",
            ),
            Refused(
                "floating class indices",
                lambda: (jnp.ones((4, 3)), jnp.ones(4)),
                ValueError,
                "class indices must be integers, labels.astype(int)",
            ),
            Refused(
                "boolean labels",
                lambda: (jnp.ones((4, 3)), jnp.ones((4, 3), bool)),
                TypeError,
                "labels are booleans",
            ),
            Refused("no classes", lambda: (jnp.ones((4, 0)), jnp.ones(4, int)), ValueError, "at least one class"),
            Refused("integer logits", lambda: (jnp.ones((4, 3), int), jnp.ones(4, int)), TypeError, "logits is int"),
            Refused(
                "unknown reduction",
                lambda: (jnp.ones((4, 3)), jnp.ones(4, int)),
                ValueError,
                "reduction is 'average': choose one of 'mean', 'sum', 'none'",
                {"reduction": "average"},
            ),
        ),
        benchmarks=of_classes(with_class_indices, cross_entropy_of_optax, (10, 128, 1000, 32000)),
    ),
    RuleCase(
        name="squared_error",
        function=squared_error,
        formula="dŷ = -2 (y - ŷ) dL    dy = 2 (y - ŷ) dL",
        shapes="prediction, target, L: equal",
        residuals="y - ŷ",
        convention="no factor 1/2",
        source="REGRESSION",
        examples=(
            Example("vector", normals((4,), (4,)), _squared_error),
            Example("scalar", normals((), ()), _squared_error),
            Example("empty", normals((0, 2), (0, 2)), _squared_error),
        ),
        special=(Special("NaN", ([NAN, 1.0], [0.0, 0.0]), [NAN, 1.0], ([NAN, 2.0], [NAN, -2.0])),),
        refused=_error_refusals("squared_error"),
        benchmarks=of_matrices(_squared_error, arrays=2),
    ),
    RuleCase(
        name="mean_squared_error",
        function=mean_squared_error,
        formula="dŷ_n = -(2/N) (y_n - ŷ_n) dL    dy_n = (2/N) (y_n - ŷ_n) dL",
        shapes="prediction, target: equal   L () or that shape",
        residuals="y - ŷ",
        convention="no factor 1/2; the mean is over all elements",
        source="REGRESSION",
        examples=tuple(
            Example(
                reduction,
                normals((3, 2), (3, 2)),
                partial(_squared_error, reduction=reduction),
                {"reduction": reduction},
            )
            for reduction in ("mean", "sum", "none")
        ),
        special=(Special("NaN", ([NAN, 1.0], [0.0, 0.0]), NAN, ([NAN, 1.0], [NAN, -1.0])),),
        refused=(
            *_error_refusals("mean_squared_error"),
            Refused(
                "empty batch",
                lambda: (jnp.ones((0, 2)), jnp.ones((0, 2))),
                ValueError,
                "mean_squared_error: the mean of an empty batch (shape (0, 2), N = 0) does not exist",
            ),
        ),
        benchmarks=of_matrices(partial(_squared_error, reduction="mean"), arrays=2),
    ),
)
