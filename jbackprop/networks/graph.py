r"""Any directed acyclic graph of rules: forward in topological order, backward in reverse, cotangents added up.

Each node $v = f_v(\text{its inputs})$ names what it reads: parameters, inputs of the network, or other nodes. Upwards,

$$dv = \sum_{r \text{ reads } v} \left(\frac{\partial r}{\partial v}\right)^{\!\top} dr$$

one term for each place where $v$ is read, each of them one element of what the backward function of $r$ returns.

The order is found when the graph is built; under `jax.jit` nothing of the engine is left but the calls of the rules.
A diamond, `v = σ(u) + tanh(u)` with `u = x w`: two nodes read `u`, so `du` has two terms.

>>> from jbackprop.layers.linear import linear, linear_bwd, linear_fwd
>>> import jbackprop.layers.mean_squared_error as mse
>>> from jbackprop.networks.activations import activation_rule
>>> from jbackprop.networks.graph_rules import ADD
>>> diamond = build(
...     [
...         Node("v", ADD, ("left", "right")),
...         Node("left", activation_rule("sigmoid"), ("u",)),
...         Node("right", activation_rule("tanh"), ("u",)),
...         Node("u", bind(linear, linear_fwd, linear_bwd), ("x", "w")),
...     ],
...     params={"w": (3, 2)},
...     output="v",
...     loss_rule=bind(mse.mean_squared_error, mse.mean_squared_error_fwd, mse.mean_squared_error_bwd),
... )
>>> [node.name for node in diamond.nodes]
['u', 'left', 'right', 'v']
>>> L, grads = loss_and_grads({"w": jnp.zeros((3, 2))}, jnp.ones((1, 3)), jnp.zeros((1, 2)), diamond)
>>> float(L), grads["w"][0].tolist()  # v = 1/2 and dv = 1/2 everywhere; du = (1/4 + 1) dv
(0.25, [0.625, 0.625])

Source: DEEP, Question 2 ("does the above idea generalize to any directed acyclic graph?").
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jbackprop.networks.graph_structure import Graph as Graph
from jbackprop.networks.graph_structure import Node as Node
from jbackprop.networks.graph_structure import build as build
from jbackprop.networks.initial import normal_weights
from jbackprop.networks.rule import bind as bind

Params = dict[str, Array]
Inputs = Array | Mapping[str, Array]
Residuals = dict[str, Any]


def init(key: jax.Array, graph: Graph, dtype: DTypeLike = jnp.float32) -> Params:
    """Returns zeros for each vector and weights from N(0, 1/fan-in) for everything of two axes and more."""
    keys = jax.random.split(key, len(graph.params))
    return {
        name: jnp.zeros(shape, dtype) if len(shape) < 2 else normal_weights(key_p, shape, dtype)
        for key_p, (name, shape) in zip(keys, graph.params, strict=True)
    }


def forward(params: Params, x: Inputs, graph: Graph) -> tuple[Float[Array, "..."], Residuals]:
    """Returns the value of the output node, and what each node saves under its name; several inputs are a mapping.

    Raises: ValueError that names the parameter or input which is missing, not declared, or of another shape.
    """
    values = {**_declared_params(params, graph), **_named_inputs(x, graph)}
    residuals = {}
    for node in graph.nodes:
        values[node.name], residuals[node.name] = node.rule.fwd(*(values[name] for name in node.inputs))
    return values[graph.output], residuals


def cotangents(residuals: Residuals, d_out: Float[Array, "..."], graph: Graph) -> dict[str, Array]:
    """Returns the cotangent of every node, parameter and input that has one.

    Integers have none, nor has what only they read.
    """
    d = {graph.output: d_out}
    for node in reversed(graph.nodes):
        if node.name not in d:  # an argmax, which its reader takes as labels
            continue
        for name, term in zip(node.inputs, node.rule.bwd(residuals[node.name], d[node.name]), strict=False):
            if term is not None:
                d[name] = d[name] + term if name in d else term
    return d


def backward(params: Params, residuals: Residuals, d_out: Float[Array, "..."], graph: Graph) -> Params:
    """Returns the gradients of `params` for the cotangent of the output: `forward` in reverse order.

    A parameter that reaches the output through integers alone has the gradient 0.
    """
    d = cotangents(residuals, d_out, graph)
    return {
        name: d[name] if name in d else jnp.zeros_like(param) for name, param in _declared_params(params, graph).items()
    }


def loss(params: Params, x: Inputs, y: Array, graph: Graph) -> Float[Array, ""]:
    """Returns the graph's loss of its output against `y`, composed of the decorated layers, for `jax.grad`."""
    values = {**_declared_params(params, graph), **_named_inputs(x, graph)}
    for node in graph.nodes:
        values[node.name] = node.rule.f(*(values[name] for name in node.inputs))
    return graph.loss_rule.f(values[graph.output], y)


def loss_and_grads(params: Params, x: Inputs, y: Array, graph: Graph) -> tuple[Float[Array, ""], Params]:
    """Returns the loss and its gradients by the explicit backward pass; no automatic differentiation inside."""
    out, residuals = forward(params, x, graph)
    L, saved = graph.loss_rule.fwd(out, y)
    d_out, _dy = graph.loss_rule.bwd(saved, jnp.ones_like(L))
    return L, backward(params, residuals, d_out, graph)


def _declared_params(params: Params, graph: Graph) -> Params:
    declared = dict(graph.params)
    for name in {**declared, **params}:
        if name not in params:
            raise ValueError(f"graph: params has no {name!r}: the graph declares {', '.join(map(repr, declared))}")
        if name not in declared:
            raise ValueError(
                f"graph: params has {name!r}, which the graph does not declare: remove it, or build with it"
            )
        if jnp.shape(params[name]) != declared[name]:
            raise ValueError(
                f"graph: the parameter {name!r} has shape {jnp.shape(params[name])} "
                f"but the graph declares {declared[name]}: use graph.init, or build with the other shape"
            )
    return params


def _named_inputs(x: Inputs, graph: Graph) -> Mapping[str, Array]:
    given = x if isinstance(x, Mapping) else {graph.inputs[0]: x}
    if set(given) != set(graph.inputs):
        raise ValueError(f"graph: x has the inputs {sorted(given)} but the graph reads {sorted(graph.inputs)}")
    return given
