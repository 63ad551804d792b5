"""Jaxprs without custom derivative rules: each call of a rule becomes the equations of its primal.

The rewriting is structural. Nothing is traced again, so axis names, shardings and weak types stay as they were.
"""

import copy
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend import linear_util
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from jax.extend.core.primitives import custom_jvp_call_p, custom_vjp_call_p

Environment = dict[Var, Var | Literal]


def without_rules(jaxpr: Any, custom_jvp: bool) -> Any:
    """Returns `jaxpr`, closed or open, with every custom rule in it, at any depth, replaced by its primal.

    `custom_vjp` and `custom_vmap` always go, `custom_jvp` if asked.
    """
    if not isinstance(jaxpr, Jaxpr):  # before JAX 0.11 a closed jaxpr is a box around a jaxpr
        inside = without_rules(jaxpr.jaxpr, custom_jvp)
        return jaxpr if inside is jaxpr.jaxpr else jaxpr.replace(jaxpr=inside)
    environment: Environment = {}
    equations = list(_equations(jaxpr, environment, custom_jvp, fresh=False))
    if len(equations) == len(jaxpr.eqns) and all(map(_same, equations, jaxpr.eqns)):
        return jaxpr  # the same object, so that JAX finds what it has compiled
    outputs = [_read(environment, atom) for atom in jaxpr.outvars]
    return jaxpr.replace(eqns=equations, outvars=outputs, debug_info=jaxpr.debug_info)


def _equations(jaxpr: Jaxpr, environment: Environment, custom_jvp: bool, fresh: bool) -> Iterator[JaxprEqn]:
    """Yields the equations of `jaxpr` without rules; `fresh` renames outputs, as one primal may be inlined twice."""
    for equation in jaxpr.eqns:
        call = _primal_call(equation, custom_jvp)
        if call is None:
            yield _renamed(equation, environment, _params(equation, custom_jvp), fresh)
            continue
        primal, inputs = call
        inner: Environment = dict(zip(primal.invars, [_read(environment, atom) for atom in inputs], strict=True))
        for variable, constant in zip(primal.constvars, primal.consts, strict=True):
            inner[variable] = Literal(constant, variable.aval)
        opened = primal if isinstance(primal, Jaxpr) else primal.jaxpr
        yield from _equations(opened, inner, custom_jvp, fresh=True)
        for variable, atom in zip(equation.outvars, opened.outvars, strict=True):
            environment[variable] = _read(inner, atom)


def _primal_call(equation: JaxprEqn, custom_jvp: bool) -> tuple[Any, list[Any]] | None:
    """Returns the primal's closed jaxpr and its inputs where `equation` calls a rule that is to go, else None."""
    if equation.primitive is custom_vjp_call_p:
        return equation.params["call_jaxpr"], equation.invars
    if equation.primitive is custom_jvp_call_p and custom_jvp:
        return equation.params["call_jaxpr"], equation.invars
    if equation.primitive.name == "custom_vmap_call":  # its rule may call rules, and JAX has no reverse mode for it
        return equation.params["call"], equation.invars
    if equation.primitive.name != "call_hi_primitive":
        return None
    # JAX_CUSTOM_VJP3=1. The classes are private, so they are known by their names and by what they carry.
    primitive = equation.params["_prim"]
    removed = {"CustomVJPTraced", "OptRemat"} | ({"CustomJVPTraced"} if custom_jvp else set())
    kind = type(primitive).__name__
    if kind == "VmapOf" and _innermost(primitive) in removed:
        return jax.make_jaxpr(primitive.expand)(*jax.tree.map(_struct, primitive.in_avals)), equation.invars
    if kind == "OptRemat":
        return primitive.traced_fwd.jaxpr, equation.invars
    if kind not in removed:
        return None
    arguments = jax.tree.unflatten(primitive.in_tree, equation.invars)
    if hasattr(primitive, "drop_fwd_consts"):  # from JAX 0.11 on two more arguments lead; the primal takes one
        arguments = primitive.drop_fwd_consts(*arguments)
    return primitive.traced.jaxpr, jax.tree.leaves(arguments)


def _innermost(primitive: Any) -> str:
    while hasattr(primitive, "prim"):
        primitive = primitive.prim
    return type(primitive).__name__


def _struct(aval: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def _params(equation: JaxprEqn, custom_jvp: bool) -> dict[str, Any]:
    params = {name: _value(value, custom_jvp) for name, value in equation.params.items()}
    if equation.primitive is custom_jvp_call_p:
        params["jvp_jaxpr_fun"] = _jvp_without_rules(equation.params["jvp_jaxpr_fun"], custom_jvp)
    return equation.params if all(params[name] is equation.params[name] for name in params) else params


def _value(value: Any, custom_jvp: bool) -> Any:
    """Rewrites the jaxprs in one parameter of an equation: branches in a tuple, the four of a linear solve, ..."""
    if isinstance(value, Jaxpr | ClosedJaxpr):
        return without_rules(value, custom_jvp)
    if isinstance(value, tuple | list):
        values = [_value(element, custom_jvp) for element in value]
        if all(map(_same, values, value)):
            return value
        return type(value)(*values) if hasattr(value, "_fields") else type(value)(values)
    if isinstance(getattr(value, "params", None), dict) and hasattr(value, "in_avals"):  # a hi-primitive, such as remat
        params = {name: _value(param, custom_jvp) for name, param in value.params.items()}
        if all(params[name] is value.params[name] for name in params):
            return value
        changed = copy.copy(value)
        changed.__dict__.update(params, params=params)
        return changed
    return value


def _jvp_without_rules(thunk: Any, custom_jvp: bool) -> Any:
    """A `custom_jvp` that stays keeps its rule; a `custom_vjp` called by that rule goes."""

    def jvp(*zeros: Any) -> tuple[Any, ...]:
        jaxpr, *rest = thunk.call_wrapped(*zeros)
        return without_rules(jaxpr, custom_jvp), *rest

    return linear_util.wrap_init(jvp, debug_info=thunk.debug_info)


def _renamed(equation: JaxprEqn, environment: Environment, params: dict[str, Any], fresh: bool) -> JaxprEqn:
    inputs = [_read(environment, atom) for atom in equation.invars]
    outputs = equation.outvars
    if fresh:
        outputs = [copy.copy(variable) for variable in outputs]
        environment.update(zip(equation.outvars, outputs, strict=True))
    if params is equation.params and not fresh and all(map(_same, inputs, equation.invars)):
        return equation
    effects = {_renamed_effect(effect, environment) for effect in equation.effects}
    return equation.replace(invars=inputs, outvars=outputs, params=params, effects=effects)


def _renamed_effect(effect: Any, environment: Environment) -> Any:
    """An effect on a mutable array names the variable that holds it."""
    variable = getattr(effect, "input", None)
    return effect.replace(environment[variable]) if isinstance(variable, Var) and variable in environment else effect


def _read(environment: Environment, atom: Any) -> Any:
    return atom if isinstance(atom, Literal) else environment.get(atom, atom)


def _same(one: Any, other: Any) -> bool:
    return one is other
