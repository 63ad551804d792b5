"""The registry of networks: one row for each, with an example of its parameters and a batch.

The first row whose name starts with a module's name is the plain form of that network.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import jax
from jax.typing import DTypeLike

import jbackprop.layers.mean_squared_error as mse
from jbackprop.layers.linear import linear, linear_bwd, linear_fwd
from jbackprop.networks import cnn, deep, graph, mlp, regression, two_layer
from jbackprop.networks.activations import activation_rule
from jbackprop.networks.costs import COSTS, CROSS_ENTROPY
from jbackprop.networks.graph_rules import ADD
from jbackprop.networks.rule import bind
from jbackprop.verify.case import Arguments, NetworkCase

Batch = Callable[[jax.Array, DTypeLike], Arguments]

LINEAR = bind(linear, linear_fwd, linear_bwd)
MEAN_SQUARED_ERROR = bind(mse.mean_squared_error, mse.mean_squared_error_fwd, mse.mean_squared_error_bwd)

# logits = relu(x w1 + b1 + x) w2 + b2: `x` is read by the layer and by the connection that skips it.
RESIDUAL_GRAPH = graph.build(
    [
        graph.Node("z1", LINEAR, ("x", "w1", "b1")),
        graph.Node("r", ADD, ("z1", "x")),
        graph.Node("a1", activation_rule("relu"), ("r",)),
        graph.Node("z2", LINEAR, ("a1", "w2", "b2")),
        graph.Node("s", ADD, ("z2", "a1")),
        graph.Node("logits", LINEAR, ("s", "w3", "b3")),
    ],
    params={"w1": (12, 12), "b1": (12,), "w2": (12, 12), "b2": (12,), "w3": (12, 5), "b3": (5,)},
    output="logits",
    loss_rule=CROSS_ENTROPY,
)

# v = σ(u) + tanh(u), u = x w: both branches read `u`; given here from the output down, which `build` puts in order.
DIAMOND_GRAPH = graph.build(
    [
        graph.Node("v", ADD, ("left", "right")),
        graph.Node("left", activation_rule("sigmoid"), ("u",)),
        graph.Node("right", activation_rule("tanh"), ("u",)),
        graph.Node("u", LINEAR, ("x", "w")),
    ],
    params={"w": (7, 4)},
    output="v",
    loss_rule=MEAN_SQUARED_ERROR,
)

SMALL_CNN = cnn.Sizes((12, 11, 2), (cnn.Block(3, 3, "SAME"), cnn.Block(4, kernel=2)), dense=(9, 5))
SMALL_CNN_AVG = cnn.Sizes((12, 11, 2), (cnn.Block(3, 3, "SAME", window=3), cnn.Block(4, kernel=2)), (5,), pool="avg")


def _classified(shape: tuple[int, ...], classes: int) -> Batch:
    def batch(key: jax.Array, dtype: DTypeLike) -> Arguments:
        key_x, key_y = jax.random.split(key)
        return jax.random.normal(key_x, shape, dtype), jax.random.randint(key_y, shape[:1], 0, classes)

    return batch


def _regressed(x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> Batch:
    def batch(key: jax.Array, dtype: DTypeLike) -> Arguments:
        key_x, key_y = jax.random.split(key)
        return jax.random.normal(key_x, x_shape, dtype), jax.random.normal(key_y, y_shape, dtype)

    return batch


def _case(
    name: str,
    network: ModuleType,
    sizes: Any,
    batch: Batch,
    formula: str,
    source: str,
    options: Mapping[str, Any] | None = None,
) -> NetworkCase:
    options = dict(options or {})
    init_options = {name: value for name, value in options.items() if value is not sizes and name != "cost"}

    def params(key: jax.Array, dtype: DTypeLike) -> Any:
        return network.init(key, sizes, dtype=dtype, **init_options)

    return NetworkCase(
        name,
        partial(network.loss, **options),
        partial(network.loss_and_grads, **options),
        params,
        batch,
        formula,
        source,
    )


def _regression_cases() -> tuple[NetworkCase, ...]:
    one, two = "ŷ = x w + b", "ŷ = σ(x w1 + b1) w2 + b2"
    source = "REGRESSION"
    batch = _regressed((16, 5), (16, 1))
    return (
        _case("regression", regression, (5, 1), batch, f"{one}, L = mean (y - ŷ)²", source),
        _case("regression_single", regression, (5, 1), _regressed((1, 5), (1, 1)), f"{one}, L = (y - ŷ)²", source),
        _case("regression_stacked", regression, (5, 4, 1), batch, f"{two}, σ = identity, L = mean (y - ŷ)²", source),
        _case(
            "regression_sigmoid",
            regression,
            (5, 4, 1),
            batch,
            f"{two}, σ = sigmoid, L = mean (y - ŷ)²",
            source,
            {"hidden": "sigmoid"},
        ),
    )


def _classifier_cases() -> tuple[NetworkCase, ...]:
    batch = _classified((32, 64), 10)
    layers = "z_l = a_{l-1} w_l + b_l, a_l = σ(z_l), J = mean cross-entropy of softmax(z_L)"
    blocks = "blocks of pool(relu(x ⋆ w + b)), then dense layers, J = mean cross-entropy of softmax"
    images = _classified((6, 12, 11, 2), 5)
    return (
        _case(
            "two_layer",
            two_layer,
            (64, 30, 10),
            batch,
            "z1 = x w1 + b1, a1 = σ(z1), z2 = a1 w2 + b2, J = mean cross-entropy of softmax(z2)",
            "TWO-LAYER",
        ),
        _case("mlp", mlp, (64, 32, 24, 10), batch, f"{layers}, σ = relu", "JACOBIAN, MLP example"),
        _case("mlp_tanh", mlp, (64, 32, 24, 10), batch, f"{layers}, σ = tanh", "JACOBIAN", {"activation": "tanh"}),
        _case("mlp_gelu", mlp, (64, 32, 24, 10), batch, f"{layers}, σ = gelu", "JACOBIAN", {"activation": "gelu"}),
        *_mlp_costs(batch),
        _case("cnn_max", cnn, SMALL_CNN, images, f"{blocks}; max pooling", "JACOBIAN", {"sizes": SMALL_CNN}),
        _case(
            "cnn_avg", cnn, SMALL_CNN_AVG, images, f"{blocks}; average pooling", "JACOBIAN", {"sizes": SMALL_CNN_AVG}
        ),
    )


def _mlp_costs(batch: Batch) -> tuple[NetworkCase, ...]:
    layers = "z_l = a_{l-1} w_l + b_l, a_l = σ(z_l), σ = sigmoid, t the labels as rows of 0 and 1"
    formulas = {
        "quadratic": f"{layers}, J = mean |a_L - t|²/2",
        "sigmoid_cross_entropy": f"{layers}, J = mean Σ_k -t log a_L - (1 - t) log(1 - a_L)",
    }
    return tuple(
        _case(
            f"mlp_{name}", mlp, (64, 24, 10), batch, formula, "Nielsen", {"activation": "sigmoid", "cost": COSTS[name]}
        )
        for name, formula in formulas.items()
    )


def _deep_cases() -> tuple[NetworkCase, ...]:
    formula = "z_t = σ(z_{t-1} W_t), ŷ = α·z_T, L = mean (y - ŷ)²"
    batch = _regressed((16, 12), (16,))
    return (
        _case("deep", deep, (12,) * 7, batch, f"{formula}, σ = relu, one width through lax.scan", "DEEP"),
        _case("deep_sigmoid", deep, (12,) * 7, batch, f"{formula}, σ = sigmoid", "DEEP", {"activation": "sigmoid"}),
        _case(
            "deep_silu", deep, (12,) * 7, batch, f"{formula}, σ = silu, u_t recomputed", "DEEP", {"activation": "silu"}
        ),
        _case("deep_widths", deep, (12, 20, 9, 16), batch, f"{formula}, a width for each layer", "DEEP, Question 2"),
    )


def _graph_cases() -> tuple[NetworkCase, ...]:
    source = "DEEP, Question 2"
    skip = (
        "any acyclic graph of rules; here a1 = relu(x w1 + b1 + x), logits = (a1 w2 + b2 + a1) w3 + b3, "
        "J = mean cross-entropy of softmax"
    )
    diamond = "u = x w, v = σ(u) + tanh(u), L = mean (y - v)²"
    residual_options, diamond_options = {"graph": RESIDUAL_GRAPH}, {"graph": DIAMOND_GRAPH}
    return (
        _case("graph_residual", graph, RESIDUAL_GRAPH, _classified((16, 12), 5), skip, source, residual_options),
        _case("graph_diamond", graph, DIAMOND_GRAPH, _regressed((6, 7), (6, 4)), diamond, source, diamond_options),
    )


NETWORKS: tuple[NetworkCase, ...] = (*_regression_cases(), *_classifier_cases(), *_deep_cases(), *_graph_cases())


def network_case(name: str) -> NetworkCase:
    """Returns the row of that name, or the first whose name goes on from it: `cnn` is `cnn_max`.

    Raises: ValueError with the known names.

    >>> network_case("cnn").name
    'cnn_max'
    """
    for case in NETWORKS:
        if case.name == name:
            return case
    for case in NETWORKS:
        if case.name.startswith(f"{name}_"):
            return case
    raise ValueError(f"network_case: {name!r} is unknown: choose one of {', '.join(case.name for case in NETWORKS)}")
