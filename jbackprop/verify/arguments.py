"""A call taken apart: which leaves of its arguments are differentiated, what they are called, and the way back."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jbackprop.verify.rule import find_rule

LARGE = 2**17  # elements of the differentiated leaves


class Call(NamedTuple):
    """The arguments of `f(*args, **kwargs)` as a list of leaves, the differentiated ones by position."""

    names: tuple[str, ...]  # one per leaf: `x`, `params['w']`
    leaves: tuple[Any, ...]
    tree: Any
    differentiated: tuple[int, ...]
    values: tuple[Any, ...]  # the differentiated leaves


def take_apart(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], nondiff: Sequence[str] = ()
) -> Call:
    """Returns the leaves of a call with their names; float arrays are differentiated unless `f` declares them static.

    `nondiff` names further arguments, or leaves of them, that are passed on undifferentiated.

    A Python float is differentiated where `f` is a `custom_vjp` and the argument is none of its static ones; in any
    other function it is taken for an option. Raises ValueError where nothing can be differentiated, and TypeError for
    values that are being traced.
    """
    try:
        rule = find_rule(f, args, kwargs)
    except TypeError as error:
        error.add_note(f"compare_vjp: the arguments stand one by one after the function, here {len(args)} of them")
        raise
    static = rule.static_names if rule else frozenset()
    arguments = [*zip(argument_names(f, len(args)), args, strict=True), *sorted(kwargs.items())]
    names: list[str] = []
    differentiated: list[int] = []
    for name, argument in arguments:
        for path, leaf in jax.tree_util.tree_leaves_with_path(argument):
            full = name + jax.tree_util.keystr(path)
            passed_on = name in static or name in nondiff or full in nondiff
            if rule is not None and not passed_on and isinstance(leaf, jax.ShapeDtypeStruct):
                raise TypeError(f"compare_vjp looks at numbers, and {full} is a ShapeDtypeStruct: pass an array")
            if not passed_on and _is_float(leaf, python_float=rule is not None):
                differentiated.append(len(names))
            names.append(full)
    unknown = [name for name in nondiff if name not in names and name not in dict(arguments)]
    if unknown:
        raise ValueError(f"compare_vjp: nondiff names {unknown[0]!r}, and the arguments are {', '.join(names)}")
    leaves, tree = jax.tree.flatten((args, kwargs))
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        raise TypeError("compare_vjp looks at numbers: call it outside of jax.jit and other transformations")
    if not differentiated:
        words = f"compare_vjp: none of the arguments ({', '.join(names)}) is a float array to differentiate"
        described = any(isinstance(leaf, str) and "[" in leaf for leaf in leaves)
        remedy = ": pass arrays; `RuleCall` and `jbackprop check` draw those that a string describes"
        raise ValueError(words + remedy * described)
    for i in differentiated:  # a NumPy array becomes what JAX makes of it, in the caller's precision
        leaves[i] = leaves[i] if isinstance(leaves[i], float | complex) else jnp.asarray(leaves[i])
    values = tuple(leaves[i] for i in differentiated)
    return Call(tuple(names), tuple(leaves), tree, tuple(differentiated), values)


def large(call: Call) -> bool:
    """Whether running costs more than compiling: then fewer cotangents are run, and no second derivatives."""
    return sum(np.size(value) for value in call.values) > LARGE


def put_together(f: Callable[..., Any], call: Call, values: Sequence[Any]) -> Any:
    """Returns `f` of the call's arguments with `values` in the place of the differentiated leaves."""
    leaves = list(call.leaves)
    for i, value in zip(call.differentiated, values, strict=True):
        leaves[i] = value
    args, kwargs = jax.tree.unflatten(call.tree, leaves)
    return f(*args, **kwargs)


def argument_names(f: Callable[..., Any], count: int) -> list[str]:
    """Returns the names of the first `count` positional arguments, from the signature of `f` where it has one."""
    try:
        # equinox's own object takes anything; what it wraps has the names
        of: Any = f.fn if type(f).__name__ == "filter_custom_vjp" else f  # type: ignore[attr-defined]
        parameters = list(inspect.signature(of).parameters.values())
    except (TypeError, ValueError):  # some builtins have none
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
    return names + [f"{rest}[{i}]" for i in range(count - len(names))]


def function_name(f: Callable[..., Any]) -> str:
    """Returns what a reader calls `f`, also for a `functools.partial`."""
    while isinstance(f, functools.partial):
        f = f.func
    return getattr(f, "__name__", type(f).__name__)


def _is_float(leaf: Any, python_float: bool) -> bool:
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return jnp.issubdtype(leaf.dtype, jnp.inexact)
    return python_float and isinstance(leaf, float | complex)
