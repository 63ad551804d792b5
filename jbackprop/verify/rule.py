"""The parts of a `jax.custom_vjp`: its primal, `fwd`, `bwd` and static arguments, in every version of JAX."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr


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

    @property
    def array_names(self) -> list[str]:
        return [name for i, name in enumerate(self.names) if i not in self.static]


def find_rule(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rule | None:
    """Returns the rule that `f` is, also inside `functools.partial` and `jax.jit`, or None where `f` is none itself."""
    while not is_rule(f):
        if isinstance(f, functools.partial):
            f, args, kwargs = f.func, (*f.args, *args), {**f.keywords, **kwargs}
        elif hasattr(f, "lower") and hasattr(f, "__wrapped__"):  # what jax.jit returns
            f = f.__wrapped__
        else:
            return None
    rule: Any = f
    primal = rule.fun if hasattr(rule, "fun") else rule.f  # `f` under JAX_CUSTOM_VJP3=1
    bound = inspect.signature(primal).bind(*args, **kwargs)
    if not isinstance(primal, functools.partial):  # of which JAX looks at no signature
        bound.apply_defaults()
    static = rule.nondiff_argnums if hasattr(rule, "nondiff_argnums") else rule.static_argnums
    names = [p.name for p in bound.signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
    rest = next((p.name for p in bound.signature.parameters.values() if p.kind is p.VAR_POSITIONAL), "")
    names = [*names, *(f"{rest}[{i}]" for i in range(len(bound.args) - len(names)))][: len(bound.args)]
    symbolic = getattr(rule, "symbolic_zeros", False) or getattr(rule, "symz", False)
    logs = getattr(rule, "with_logs", False) or getattr(rule, "with_accums", False)
    plain = rule.fwd is not None and not symbolic and not logs
    found: tuple[Any, Any] = rule.fwd, rule.bwd
    return Rule(primal, *found, frozenset(static), tuple(names), bound.args, plain)


class Returned(NamedTuple):
    """What `fwd` saved and `bwd` handed back, before JAX has looked at it: shapes and dtypes, and None as None."""

    residuals: Any
    cotangents: Any
    error: Exception | None  # of `bwd`, which then handed back nothing


def raw_cotangents(rule: Rule, d_out: Any) -> Returned:
    """Returns what one call of `fwd` and `bwd` hands back; an error of `fwd` is raised."""
    returned: list[Returned] = []

    def run(values: list[Any], d_out: Any) -> None:
        _, residuals = rule.fwd(*with_arrays(rule, values))
        saved = jax.tree.map(_struct, residuals)
        try:
            cotangents = pulled_back(rule, residuals, d_out)
            is_tree = not isinstance(cotangents, Iterator)  # which JAX takes for a leaf, with a warning
            returned.append(Returned(saved, jax.tree.map(_struct, cotangents) if is_tree else cotangents, None))
        except Exception as error:  # a finding, which the caller words
            returned.append(Returned(saved, None, error))

    jax.eval_shape(run, arrays(rule), d_out)
    return returned[0]


def traced_alone(rule: Rule, d_out: Any) -> ClosedJaxpr:
    """Traces one call of `fwd` and `bwd`, as Python runs them now and not as JAX remembers them."""

    def run(values: list[Any], d_out: Any) -> Any:
        return pulled_back(rule, rule.fwd(*with_arrays(rule, values))[1], d_out)

    return jax.make_jaxpr(run)(arrays(rule), d_out)


def zero_cotangent(rule: Rule) -> Any:
    """Returns zeros like the primal's output, float0 where that is no float."""
    out = jax.eval_shape(lambda values: rule.primal(*with_arrays(rule, values)), arrays(rule))
    return jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype if jnp.issubdtype(leaf.dtype, jnp.inexact) else jax.dtypes.float0),
        out,
    )


def arrays(rule: Rule) -> list[Any]:
    """Returns the arguments that get a cotangent, in the order of `array_names`."""
    return [arg for i, arg in enumerate(rule.args) if i not in rule.static]


def with_arrays(rule: Rule, values: list[Any]) -> list[Any]:
    """Returns all arguments, static ones too, with `values` in the place of the arrays."""
    left = iter(values)
    return [arg if i in rule.static else next(left) for i, arg in enumerate(rule.args)]


def pulled_back(rule: Rule, residuals: Any, d_out: Any) -> Any:
    """Returns what `bwd` itself returns."""
    return rule.bwd(*(rule.args[i] for i in sorted(rule.static)), residuals, d_out)


def _struct(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, Tracer) else leaf


def is_rule(f: Any) -> bool:
    """Whether `f` is a `jax.custom_vjp`, in every version of JAX."""
    return hasattr(f, "fwd") and hasattr(f, "bwd") and hasattr(f, "defvjp")
