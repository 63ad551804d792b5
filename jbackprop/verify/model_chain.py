"""All cotangents of a model at once, with its rules and without: zeros added to each layer's values are pulled back to.

$$y' = y + 0, \\qquad \\frac{\\partial L}{\\partial 0} = dy$$
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from jbackprop.verify.compiling import BARELY_OPTIMISED
from jbackprop.verify.model_steps import Program, Step, evaluate_steps
from jbackprop.verify.structure import in_one_line

Arrays = tuple[Any, ...]


class Layer(NamedTuple):
    """What passes through one layer: its values, and the cotangents of its float outputs and its active inputs."""

    inputs: Arrays
    outputs: Arrays
    d_outputs: Arrays
    d_inputs: Arrays


class Chain(NamedTuple):
    """One backward pass through the whole model."""

    loss: Any
    grads: Arrays
    layers: tuple[Layer, ...]


class Own(NamedTuple):
    """One rule by itself, at the true values and for the true cotangent: its value and its cotangents."""

    outputs: Arrays
    d_inputs: Arrays


class Measured(NamedTuple):
    """Both chains and each rule by itself in one precision; what a rule raised stands in `errors` by layer."""

    automatic: Chain
    rules: Chain | None
    own: tuple[Own | None, ...]
    jaxprs: tuple[Any, ...]  # of the two chains, the automatic one first,
    layer_jaxprs: tuple[tuple[Any, ...], ...]  # and of the derivative of each layer
    errors: dict[int, str]
    failure: str  # what the whole chain by rules raised


class Precision(NamedTuple):
    """A model in one precision: its steps, its arrays and what was measured."""

    program: Program
    inputs: list[Any]
    measured: Measured


class _Traced(NamedTuple):
    jaxpr: Any
    shapes: Any  # the result with shapes in place of arrays

    def __call__(self, *args: Any) -> Any:
        return jax.tree.unflatten(jax.tree.structure(self.shapes), jaxpr_as_fun(self.jaxpr)(*jax.tree.leaves(args)))


def measure(
    program: Program, inputs: Sequence[Any], differentiated: tuple[int, ...], trusted: frozenset[int]
) -> Measured:
    """Evaluates everything in one compiled function; layers in `trusted` keep their rule in the automatic chain too."""
    every = frozenset(range(len(program.layers)))
    oracle = _trace(lambda *leaves: chain(program, leaves, differentiated, trusted), *inputs)
    rules, failure = _attempt(lambda *leaves: chain(program, leaves, differentiated, every), *inputs)
    own, errors, jaxprs = [], {}, []
    for k, (step, layer) in enumerate(zip(program.layers, oracle.shapes.layers, strict=True)):
        values = (layer.inputs, layer.d_outputs)
        automatic = _trace(lambda x, dy, step=step: by_itself(step, x, dy, rules=False), *values)
        by_rule, error = _attempt(lambda x, dy, step=step: by_itself(step, x, dy, rules=True), *values)
        own.append(by_rule)
        jaxprs.append((automatic.jaxpr, *([] if by_rule is None else [by_rule.jaxpr])))
        if error:
            errors[k] = error

    def everything(*leaves: Any) -> Any:
        true = oracle(*leaves)
        alone = [
            None if one is None else one(layer.inputs, layer.d_outputs)
            for one, layer in zip(own, true.layers, strict=True)
        ]
        return true, None if rules is None else rules(*leaves), tuple(alone)

    true, chained, alone = jax.tree.map(_to_numpy, jax.jit(everything, compiler_options=BARELY_OPTIMISED)(*inputs))
    chains = (oracle.jaxpr, *([] if rules is None else [rules.jaxpr]))
    return Measured(true, chained, alone, chains, tuple(jaxprs), errors, failure)


def chain(program: Program, leaves: Sequence[Any], differentiated: tuple[int, ...], by_rule: frozenset[int]) -> Chain:
    """Returns one backward pass, in which the layers at the positions `by_rule` keep their rules."""
    taps = [(_zeros(step, step.active, read=True), _zeros(step, step.floats, read=False)) for step in program.layers]

    def forward(values: Arrays, taps: Any) -> tuple[Any, Any]:
        inputs = list(leaves)
        for i, value in zip(differentiated, values, strict=True):
            inputs[i] = value
        seen: list[tuple[Arrays, Arrays]] = []

        def run(step: Step, read: list[Any]) -> list[Any]:
            if not step.is_layer:
                return step.run(*read)
            k = len(seen)
            read = _tapped(read, step.active, taps[k][0])
            written = step.run(*read) if k in by_rule else step.run_automatic(*read)
            written = _tapped(written, step.floats, taps[k][1])
            seen.append((tuple(read), tuple(written)))
            return written

        (loss,), _ = evaluate_steps(program, inputs, run)
        return loss, seen

    loss, pull, seen = jax.vjp(forward, tuple(leaves[i] for i in differentiated), taps, has_aux=True)
    grads, cotangents = pull(jnp.ones(loss.shape, loss.dtype))
    layers = [Layer(x, y, dy, dx) for (x, y), (dx, dy) in zip(seen, cotangents, strict=True)]
    return Chain(loss, grads, tuple(layers))


def by_itself(step: Step, inputs: Sequence[Any], d_outputs: Sequence[Any], rules: bool) -> Own:
    """Returns the outputs of one step and the cotangents of its active inputs."""

    def f(*active: Any) -> tuple[Arrays, Arrays]:
        read = list(inputs)
        for i, value in zip(step.active, active, strict=True):
            read[i] = value
        written = tuple(step.run(*read) if rules else step.run_automatic(*read))
        return tuple(written[i] for i in step.floats), written

    _, pull, outputs = jax.vjp(f, *(inputs[i] for i in step.active), has_aux=True)
    return Own(outputs, pull(tuple(d_outputs)))


def _trace(f: Any, *args: Any) -> _Traced:
    jaxpr, shapes = jax.make_jaxpr(f, return_shape=True)(*args)
    return _Traced(jaxpr, shapes)


def _attempt(f: Any, *args: Any) -> tuple[_Traced | None, str]:
    """Returns the trace, or what was raised: whatever a rule raises is a finding."""
    try:
        return _trace(f, *args), ""
    except Exception as error:
        return None, in_one_line(error)


def _zeros(step: Step, positions: Sequence[int], read: bool) -> Arrays:
    """Negative zeros, since x + -0 is x, also for x = -0."""
    avals = step.jaxpr.in_avals if read else step.jaxpr.out_avals
    return tuple(jnp.full(avals[i].shape, -0.0, avals[i].dtype) for i in positions)


def _tapped(values: Sequence[Any], positions: Sequence[int], taps: Sequence[Any]) -> list[Any]:
    values = list(values)
    for i, tap in zip(positions, taps, strict=True):
        values[i] = values[i] + tap
    return values


def _to_numpy(x: Any) -> Any:
    return x if jnp.issubdtype(x.dtype, jax.dtypes.extended) else np.asarray(x)  # a random key stays one
