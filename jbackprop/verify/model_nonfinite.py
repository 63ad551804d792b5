"""Where a NaN or an infinity enters a model: evaluated equation by equation, forwards and backwards."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.inline import without_rules
from jbackprop.verify.model_steps import Program, Step, evaluate_steps, program

Positions = tuple[int, ...]


class _Kind(NamedTuple):
    """What is looked for."""

    name: str
    infinite: bool

    def within(self, x: Any) -> bool:
        if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.inexact):
            return False
        values = np.asarray(x)
        values = values if np.iscomplexobj(values) else values.astype(np.float64)
        return bool(np.any(np.isinf(values) if self.infinite else np.isnan(values)))


NAN, INFINITY = _Kind("a NaN", infinite=False), _Kind("an infinity", infinite=True)


def kind_within(values: Sequence[Any]) -> _Kind | None:
    """Returns NaN where one of the values has one, else infinity, else None."""
    return next((kind for kind in (NAN, INFINITY) if any(map(kind.within, values))), None)


def forward_entry(model: Program, inputs: Sequence[Any], names: Sequence[str]) -> str:
    """Returns in a sentence where the NaN or infinity of the model's value comes from, or nothing if it is finite."""
    outputs, nodes = evaluate_steps(model, list(inputs), lambda step, read: step.run_automatic(*read))
    kind = kind_within(outputs)
    if kind is None:
        return ""
    found = _forward_origin(model, nodes, model.outputs[0], kind)
    if isinstance(found, int):
        return _in_the_data(names, found, nodes, kind)
    read = [nodes[i] for i in found.inputs]
    detail = "its input is finite, its output is not"
    if kind is NAN and any(map(INFINITY.within, read)):
        node = next(i for i in found.inputs if INFINITY.within(nodes[i]))
        source = _forward_origin(model, nodes, node, INFINITY)
        of = f" from {location(model, source)}" if isinstance(source, Step) else ""
        detail = f"an infinity goes in{of}, a NaN comes out"
    return f"{kind.name} enters forwards at {location(model, found)}{_inside(found, read, kind)}: {detail}"


def backward_entry(model: Program, inputs: Sequence[Any], differentiated: Positions, rules: bool) -> str:
    """Returns in a sentence where the NaN or infinity in a gradient comes from, or nothing if all are finite.

    With `rules` the chain is that of the custom rules, else the automatic one.
    """
    pulls: dict[int, Any] = {}

    def run(step: Step, read: list[Any]) -> list[Any]:
        f = step.run if rules else step.run_automatic
        if not step.floats:
            return f(*read)

        def active(*values: Any) -> tuple[tuple[Any, ...], list[Any]]:
            merged = dict(zip(step.active, values, strict=True))
            written = f(*[merged.get(i, value) for i, value in enumerate(read)])
            return tuple(written[i] for i in step.floats), written

        _, pulls[step.outputs[0]], written = jax.vjp(active, *(read[i] for i in step.active), has_aux=True)
        return written

    (loss,), nodes = evaluate_steps(model, list(inputs), run)
    cotangents = {model.outputs[0]: jnp.ones(loss.shape, loss.dtype)}
    pulled: list[tuple[Step, list[Any]]] = []  # the cotangents that each step hands on
    for step in reversed(model.steps):
        if not step.floats or not any(step.outputs[i] in cotangents for i in step.floats):
            continue
        d_out = [_or_zeros(cotangents, nodes, step.outputs[i]) for i in step.floats]
        d_in = list(pulls[step.outputs[0]](tuple(d_out)))
        pulled.append((step, d_in))
        for i, ct in zip(step.active, d_in, strict=True):
            node = step.inputs[i]
            cotangents[node] = cotangents[node] + ct if node in cotangents else ct
    found = {i: cotangents[i] for i in differentiated if i in cotangents}
    kind = kind_within(list(found.values()))
    if kind is None:
        return ""
    start = next(i for i, grad in found.items() if kind.within(grad))
    step = _backward_origin(pulled, cotangents, start, kind)
    if step is None:
        return ""
    chain = "" if rules else " of the automatic gradient"
    detail = "the cotangent of its output is finite, that of its input is not"
    infinite = [node for node in step.outputs if node in cotangents and INFINITY.within(cotangents[node])]
    if infinite:
        source = _backward_origin(pulled, cotangents, infinite[0], INFINITY)
        detail = "an infinity arrives" + (f" from {location(model, source)}" if source else "") + ", a NaN goes on"
    return f"{kind.name} enters backwards{chain} at {location(model, step)}: {detail}"


def location(model: Program, step: Step) -> str:
    """Returns the layer with its number, or an equation with the layers around it."""
    if step.is_layer:
        return f"layer {model.layers.index(step) + 1}, {step.title}"
    before = sum(other.is_layer for other in model.steps[: model.steps.index(step)])
    if not model.layers:
        return step.title
    if before == 0:
        return f"{step.title}, before layer 1"
    return f"{step.title}, after layer {before}"


def _forward_origin(model: Program, nodes: dict[int, Any], node: int, kind: _Kind) -> Step | int:
    """Goes up from a node to the step that made the NaN, or to the input that had it."""
    producers = {i: step for step in model.steps for i in step.outputs}
    while node in producers:
        step = producers[node]
        worse = [i for i in step.inputs if kind.within(nodes[i])]
        if not worse:
            return step
        node = worse[0]
    return node


def _backward_origin(
    pulled: Sequence[tuple[Step, list[Any]]], cotangents: dict[int, Any], node: int, kind: _Kind
) -> Step | None:
    """Goes from a gradient towards the loss, to the step that made a NaN of a cotangent without one."""
    while True:
        readers = [
            step
            for step, d_in in pulled
            if any(step.inputs[i] == node and kind.within(ct) for i, ct in zip(step.active, d_in, strict=True))
        ]
        if not readers:  # a sum of opposite infinities
            return None
        worse = [i for i in readers[0].outputs if i in cotangents and kind.within(cotangents[i])]
        if not worse:
            return readers[0]
        node = worse[0]


def _in_the_data(names: Sequence[str], node: int, nodes: dict[int, Any], kind: _Kind) -> str:
    values = np.asarray(nodes[node])
    count = int(np.sum(np.isinf(values) if kind.infinite else np.isnan(values)))
    name = names[node] if node < len(names) else "a constant of the model"
    return f"{kind.name} enters with the data: {name} has {count} among its {values.size} elements"


def _inside(step: Step, read: list[Any], kind: _Kind) -> str:
    """Returns the equation inside a rule's primal that made the NaN."""
    if not step.is_layer:
        return ""
    primal = program(without_rules(step.jaxpr, custom_jvp=False), ())
    outputs, nodes = evaluate_steps(primal, read, lambda step, read: step.run(*read))
    output = next((i for i, value in zip(primal.outputs, outputs, strict=True) if kind.within(value)), None)
    found = _forward_origin(primal, nodes, output, kind) if output is not None else None
    return f", inside it at {found.title}" if isinstance(found, Step) else ""


def _or_zeros(cotangents: dict[int, Any], nodes: dict[int, Any], node: int) -> Any:
    return cotangents[node] if node in cotangents else jnp.zeros_like(nodes[node])
