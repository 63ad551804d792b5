"""The ways in which people write a derivative, brought to one: a function whose gradient JAX takes by their rule."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jbackprop.verify.automatic import automatic

Function = Callable[..., Any]


def as_function(f: Any) -> Function:
    """Returns `f`, or the `custom_vjp` that a plain pair `(fwd, bwd)` makes; its primal is the first result of `fwd`.

    Raises TypeError for anything that cannot be called.
    """
    if isinstance(f, tuple) and len(f) == 2 and all(map(callable, f)):
        fwd, bwd = f

        @functools.wraps(fwd, updated=())
        def primal(*args: Any, **kwargs: Any) -> Any:
            return fwd(*args, **kwargs)[0]

        rule = jax.custom_vjp(primal)
        rule.defvjp(fwd, bwd)
        return rule
    if not callable(f):
        raise TypeError(f"compare_vjp: a function or a pair (fwd, bwd) is wanted, not {type(f).__name__}")
    return f


def primal_of(f: Function) -> Function:
    """Returns `f` without its rules: of a `custom_jvp`, also without that, since it is what is to be checked."""
    return automatic(f, custom_jvp=_is_custom_jvp(f))


def not_differentiated(f: Function, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the arguments that `f` itself declares as such: all but the first of an `equinox.filter_custom_vjp`."""
    kind = type(_innermost(f))
    return tuple(names[1:]) if kind.__name__ == "filter_custom_vjp" and kind.__module__.startswith("equinox") else ()


def _is_custom_jvp(f: Function) -> bool:
    return hasattr(_innermost(f), "defjvp")


def _innermost(f: Any) -> Any:
    while isinstance(f, functools.partial) or (hasattr(f, "lower") and hasattr(f, "__wrapped__")):
        f = f.func if isinstance(f, functools.partial) else f.__wrapped__
    return f
