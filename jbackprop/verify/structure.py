"""What needs no numbers: the types that `fwd` and `bwd` return. JAX accepts most of these defects without a word."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.arguments import Call, put_together
from jbackprop.verify.report import Check
from jbackprop.verify.rule import Rule, raw_cotangents


def fwd_check(f: Callable[..., Any], primal: Callable[..., Any], call: Call) -> Check:
    """Compares the type of what `jax.vjp` returns as value, which is `fwd`'s, with the primal's."""
    name = "fwd returns the primal's tree, shapes and dtypes"

    def types(of: Callable[[], Any]) -> str:
        return str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", jax.eval_shape(of)))

    try:
        found = types(lambda: jax.vjp(lambda *leaves: put_together(f, call, leaves), *call.values)[0])
    except Exception as error:  # newer versions of JAX refuse it themselves
        return Check(name, False, first_line(error))
    wanted = types(lambda: put_together(primal, call, call.values))
    return Check(name, found == wanted, "" if found == wanted else f"{found} for {wanted}")


def bwd_check(rule: Rule) -> tuple[Check, dict[str, str]]:
    """Looks at what `bwd` returns before JAX does; returns the check and the complaints by argument name."""
    name = "bwd returns a tuple with a cotangent of its shape and dtype for each argument"
    names = [n for i, n in enumerate(rule.names) if i not in rule.static]
    args = [a for i, a in enumerate(rule.args) if i not in rule.static]
    try:
        returned = raw_cotangents(rule, _zero_cotangent(rule))
    except Exception as error:
        return Check(name, False, f"bwd does not run: {first_line(error)}"), {}
    if not isinstance(returned, tuple | list):
        return Check(name, False, f"it returns {_what(returned)}: write `return (d{names[0]},)`"), {}
    if len(returned) != len(args):
        arguments = ", ".join(names)
        return Check(name, False, f"it returns {len(returned)} for the {len(args)} arguments ({arguments})"), {}
    complaints: dict[str, str] = {}
    for argument_name, argument, cotangent in zip(names, args, returned, strict=True):
        complaints |= _leaf_complaints(argument_name, argument, cotangent)
    serious = [f"d{n}: {text}" for n, text in complaints.items() if not text.startswith("None")]
    if isinstance(returned, list):
        serious.insert(0, "it returns a list")
    return Check(name, not serious, "; ".join(serious)), complaints


def first_line(error: Exception) -> str:
    """Returns the type and the first line of an error's message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _zero_cotangent(rule: Rule) -> Any:
    arrays = [i for i in range(len(rule.args)) if i not in rule.static]

    def primal(*values: Any) -> Any:
        args = list(rule.args)
        for i, value in zip(arrays, values, strict=True):
            args[i] = value
        return rule.primal(*args)

    out = jax.eval_shape(primal, *(rule.args[i] for i in arrays))
    return jax.tree.map(
        lambda leaf: (
            np.zeros(leaf.shape, leaf.dtype)
            if jnp.issubdtype(leaf.dtype, jnp.inexact)
            else np.zeros(leaf.shape, jax.dtypes.float0)
        ),
        out,
    )


def _leaf_complaints(name: str, argument: Any, cotangent: Any) -> dict[str, str]:
    paths_and_leaves, tree = jax.tree_util.tree_flatten_with_path(argument)
    if cotangent is None:  # stands for a whole subtree
        cotangents = [None] * len(paths_and_leaves)
    else:
        try:
            cotangents = tree.flatten_up_to(cotangent)
        except ValueError:
            found = jax.tree.structure(cotangent)
            return {name + jax.tree_util.keystr(p): f"tree {found} for {tree}" for p, _ in paths_and_leaves}
    complaints = {}
    for (path, leaf), ct in zip(paths_and_leaves, cotangents, strict=True):
        array = jnp.asarray(leaf)
        if not jnp.issubdtype(array.dtype, jnp.inexact):
            continue
        if ct is None:
            complaints[name + jax.tree_util.keystr(path)] = "None for a float argument"
        elif isinstance(ct, bool | int | float | complex) or hasattr(ct, "dtype"):
            found, wanted = _type(ct if hasattr(ct, "dtype") else jnp.asarray(ct)), _type(array)
            if found != wanted:
                complaints[name + jax.tree_util.keystr(path)] = f"cotangent is {found}, the argument {wanted}"
    return complaints


def _type(x: Any) -> str:
    return f"{jax.dtypes.canonicalize_dtype(x.dtype)}{list(x.shape)}"


def _what(returned: Any) -> str:
    if hasattr(returned, "shape"):
        return "a bare array"
    return "None" if returned is None else f"a {type(returned).__name__}"
