"""A model as a list of steps: the equations of its jaxpr, those inside `jit` and `checkpoint` among them.

A step that calls a custom rule, or that contains such calls (`scan`, `cond`, ...), is a layer.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun, jaxprs_in_params

from jbackprop.verify.inline import without_rules
from jbackprop.verify.model_names import opened, place, rule_name, step_name

# What these call runs as it stands; `checkpoint` recomputes the same numbers.
TRANSPARENT = frozenset(
    {"jit", "pjit", "closed_call", "core_call", "core_closed_call", "checkpoint", "remat", "remat2"}
)


class Step(NamedTuple):
    """One equation: what it reads and writes are numbers of nodes."""

    name: str
    where: str  # `mlp.py:57`, or nothing where the trace does not say
    is_layer: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    jaxpr: Any  # of this equation alone, closed
    active: tuple[int, ...]  # positions of the inputs through which a cotangent flows
    floats: tuple[int, ...]  # positions of the outputs that have a cotangent

    @property
    def title(self) -> str:
        return f"{self.name} ({self.where})" if self.where else self.name

    def run(self, *values: Any) -> list[Any]:
        """Evaluates the equation, with its rules."""
        return jaxpr_as_fun(self.jaxpr)(*values)

    def run_automatic(self, *values: Any) -> list[Any]:
        """Evaluates the equation without any rule in it."""
        return jaxpr_as_fun(without_rules(self.jaxpr, custom_jvp=False))(*values)


class Program(NamedTuple):
    """Steps in forward order; nodes are numbered, inputs first."""

    steps: tuple[Step, ...]
    count: int  # of the inputs
    constants: dict[int, Any]
    outputs: tuple[int, ...]

    @property
    def layers(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.is_layer)


class _Builder:
    """The nodes and steps so far."""

    def __init__(self, count: int, differentiated: tuple[int, ...]) -> None:
        self.size = count
        self.constants: dict[int, Any] = {}
        self.steps: list[Step] = []
        self.active = set(differentiated)

    def node(self) -> int:
        self.size += 1
        return self.size - 1

    def constant(self, value: Any, aval: Any) -> int:
        node = self.node()
        self.constants[node] = value if hasattr(value, "dtype") else np.asarray(value, aval.dtype)
        return node


def program(jaxpr: Any, differentiated: tuple[int, ...]) -> Program:
    """Returns the steps of a closed jaxpr; a cotangent is wanted for the inputs at the positions `differentiated`."""
    count = len(opened(jaxpr).invars)
    builder = _Builder(count, differentiated)
    outputs = _add(builder, jaxpr, list(range(count)), "")
    return Program(tuple(builder.steps), count, builder.constants, tuple(outputs))


def evaluate_steps(
    program: Program, inputs: list[Any], run: Callable[[Step, list[Any]], list[Any]]
) -> tuple[list[Any], dict[int, Any]]:
    """Returns the outputs and all nodes by number, with `run` for each step."""
    nodes = program.constants | dict(enumerate(inputs))
    for step in program.steps:
        nodes |= zip(step.outputs, run(step, [nodes[i] for i in step.inputs]), strict=True)
    return [nodes[i] for i in program.outputs], nodes


def rules_within(jaxpr: Any) -> Iterator[tuple[str, Any]]:
    """Yields each call of a custom rule at any depth, those inside a rule left out: its name, and it alone, closed."""
    inner = opened(jaxpr)
    for equation in inner.eqns:
        name = rule_name(equation)
        if name is not None:
            yield name, _alone(inner, equation)
            continue
        params = equation.params
        if equation.primitive.name == "call_hi_primitive":
            params = getattr(params["_prim"], "params", {})
        for nested in jaxprs_in_params(params):
            yield from rules_within(nested)


def _add(builder: _Builder, jaxpr: Any, inputs: list[int], around: str) -> list[int]:
    inner = opened(jaxpr)
    environment: dict[Var, int] = dict(zip(inner.invars, inputs, strict=True))
    for variable, constant in zip(inner.constvars, jaxpr.consts, strict=True):
        environment[variable] = builder.constant(constant, variable.aval)

    def node(atom: Any) -> int:
        return builder.constant(atom.val, atom.aval) if isinstance(atom, Literal) else environment[atom]

    for equation in inner.eqns:
        where = place(equation) or around  # a jit of a rule: the trace ends at the jit
        body = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
        if equation.primitive.name in TRANSPARENT and body is not None:
            closed = body if hasattr(body, "consts") else ClosedJaxpr(body, ())
            outputs = _add(builder, closed, [node(atom) for atom in equation.invars], where)
            environment.update(zip(equation.outvars, outputs, strict=True))
        else:
            _add_step(builder, inner, equation, environment, where)
    return [node(atom) for atom in inner.outvars]


def _add_step(builder: _Builder, jaxpr: Any, equation: JaxprEqn, environment: dict[Var, int], where: str) -> None:
    alone = _alone(jaxpr, equation)
    read, written = opened(alone).invars, opened(alone).outvars
    inputs = tuple(environment[variable] for variable in read)
    active = tuple(i for i, node in enumerate(inputs) if node in builder.active)
    if equation.primitive.name == "stop_gradient":
        active = ()
    floats = tuple(i for i, variable in enumerate(written) if _is_float(variable.aval)) if active else ()
    outputs = tuple(builder.node() for _ in written)
    environment.update(zip(written, outputs, strict=True))
    builder.active.update(outputs[i] for i in floats)
    rules = list(dict.fromkeys(name for name, _ in rules_within(alone)))
    name = step_name(equation, rules)
    builder.steps.append(Step(name, where, bool(rules), inputs, outputs, alone, active, floats))


def _alone(jaxpr: Any, equation: JaxprEqn) -> Any:
    """Returns the closed jaxpr of one equation, whose inputs are its variables, each once."""
    read = list(dict.fromkeys(atom for atom in equation.invars if not isinstance(atom, Literal)))
    written = [variable for variable in equation.outvars if type(variable) is Var]  # no DropVar
    alone = jaxpr.replace(constvars=(), invars=read, outvars=written, eqns=[equation], effects=equation.effects)
    return alone if Jaxpr is ClosedJaxpr else ClosedJaxpr(alone, ())


def _is_float(aval: Any) -> bool:
    return hasattr(aval, "dtype") and jnp.issubdtype(aval.dtype, jnp.inexact)
