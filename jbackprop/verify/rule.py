"""The parts of a `jax.custom_vjp`: its primal, `fwd`, `bwd` and static arguments, in every version of JAX."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.core import Tracer


class Rule(NamedTuple):
    """A `custom_vjp` and the arguments of one call, resolved to positions as JAX does it."""

    primal: Callable[..., Any]
    fwd: Callable[..., Any]
    bwd: Callable[..., Any]
    static: frozenset[int]
    names: tuple[str, ...]
    args: tuple[Any, ...]
    plain: bool  # `fwd` takes the arguments and `bwd` returns cotangents, nothing else (no symbolic zeros, no logs)

    @property
    def static_names(self) -> frozenset[str]:
        return frozenset(self.names[i] for i in self.static)


def find_rule(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rule | None:
    """Returns the rule that `f` is, also inside `functools.partial` and `jax.jit`, or None where `f` is none itself."""
    while not _is_rule(f):
        if isinstance(f, functools.partial):
            f, args, kwargs = f.func, (*f.args, *args), {**f.keywords, **kwargs}
        elif hasattr(f, "lower") and hasattr(f, "__wrapped__"):  # what jax.jit returns
            f = f.__wrapped__
        else:
            return None
    rule: Any = f
    primal = rule.fun if hasattr(rule, "fun") else rule.f  # `f` under JAX_CUSTOM_VJP3=1
    bound = inspect.signature(primal).bind(*args, **kwargs)
    bound.apply_defaults()
    static = rule.nondiff_argnums if hasattr(rule, "nondiff_argnums") else rule.static_argnums
    names = [p.name for p in bound.signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
    names += [f"args[{i}]" for i in range(len(bound.args) - len(names))]
    symbolic = getattr(rule, "symbolic_zeros", False) or getattr(rule, "symz", False)
    logs = getattr(rule, "with_logs", False) or getattr(rule, "with_accums", False)
    plain = rule.fwd is not None and not symbolic and not logs
    found: tuple[Any, Any] = rule.fwd, rule.bwd
    return Rule(primal, *found, frozenset(static), tuple(names), bound.args, plain)


def raw_cotangents(rule: Rule, d_out: Any) -> Any:
    """Returns what `bwd` hands back, before JAX has looked at it, as shapes and dtypes (and None as None)."""
    returned: list[Any] = []
    static = [rule.args[i] for i in sorted(rule.static)]
    arrays = [i for i in range(len(rule.args)) if i not in rule.static]

    def run(values: list[Any], d_out: Any) -> None:
        args = list(rule.args)
        for i, value in zip(arrays, values, strict=True):
            args[i] = value
        _, residuals = rule.fwd(*args)
        returned.append(jax.tree.map(_struct, rule.bwd(*static, residuals, d_out)))

    jax.eval_shape(run, [rule.args[i] for i in arrays], d_out)
    return returned[0]


def _struct(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, Tracer) else leaf


def _is_rule(f: Any) -> bool:
    return hasattr(f, "fwd") and hasattr(f, "bwd") and hasattr(f, "defvjp")
