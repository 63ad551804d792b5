"""What needs no numbers: the types that `fwd` and `bwd` return. JAX accepts most of these defects without a word."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jbackprop.verify.arguments import Call, put_together
from jbackprop.verify.clause_names import TYPES_OF_BWD, TYPES_OF_FWD
from jbackprop.verify.report import Check
from jbackprop.verify.rule import Rule, arrays, raw_cotangents, zero_cotangent


def fwd_check(
    f: Callable[..., Any], primal: Callable[..., Any], call: Call, words: Callable[[Exception], str]
) -> Check:
    """Compares the type of what `jax.vjp` returns as value, which is `fwd`'s, with the primal's.

    `words` explains an error.
    """

    def types(of: Callable[[], Any]) -> str:
        return str(jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", jax.eval_shape(of)))

    try:
        found = types(lambda: jax.vjp(lambda *leaves: put_together(f, call, leaves), *call.values)[0])
    except Exception as error:  # newer versions of JAX refuse it themselves
        return Check(TYPES_OF_FWD, False, words(error))
    wanted = types(lambda: put_together(primal, call, call.values))
    return Check(TYPES_OF_FWD, found == wanted, "" if found == wanted else f"{found} for {wanted}")


def bwd_check(rule: Rule, words: Callable[[Exception, Rule, Any], str]) -> tuple[Check, dict[str, str]]:
    """Looks at what `bwd` returns before JAX does; returns the check and the complaints by argument name.

    `words` explains an error of `fwd` or `bwd`.
    """
    names, args = rule.array_names, arrays(rule)
    try:
        run = raw_cotangents(rule, zero_cotangent(rule))
    except Exception as error:
        return Check(TYPES_OF_BWD, False, f"fwd does not run: {words(error, rule, None)}"), {}
    if run.error is not None:
        return Check(TYPES_OF_BWD, False, f"bwd does not run: {words(run.error, rule, run.residuals)}"), {}
    returned = run.cotangents
    if not isinstance(returned, tuple | list):
        return Check(TYPES_OF_BWD, False, f"it returns {_what(returned)}: write {_return(names)}"), {}
    if len(returned) != len(args):
        arguments = ", ".join(names)
        found = f"it returns {len(returned)} for the {len(args)} arguments ({arguments})"
        return Check(TYPES_OF_BWD, False, f"{found}: write {_return(names)}"), {}
    complaints: dict[str, str] = {}
    for argument_name, argument, cotangent in zip(names, args, returned, strict=True):
        complaints |= _leaf_complaints(argument_name, argument, cotangent)
    serious = [f"d{n}: {text}" for n, text in complaints.items() if not text.startswith("None")]
    if isinstance(returned, list):
        serious.insert(0, f"it returns a list: write {_return(names)}")
    return Check(TYPES_OF_BWD, not serious, "; ".join(serious)), complaints


def in_one_line(error: Exception) -> str:
    """Returns the type and the first line of an error's message."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _leaf_complaints(name: str, argument: Any, cotangent: Any) -> dict[str, str]:
    paths_and_leaves, tree = jax.tree_util.tree_flatten_with_path(argument)
    if cotangent is None:  # stands for a whole subtree
        cotangents = [None] * len(paths_and_leaves)
    else:
        try:
            cotangents = tree.flatten_up_to(cotangent)
        except ValueError:
            found, where = jax.tree.structure(cotangent), _first_difference(argument, cotangent)
            words = f"tree {found} for {tree}, first different at {where}"
            return {name + jax.tree_util.keystr(p): words for p, _ in paths_and_leaves}
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


def _first_difference(argument: Any, cotangent: Any) -> str:
    """Returns the first path that one of two trees has and the other has not."""
    wanted, found = ([jax.tree_util.keystr(p) for p, _ in _paths(tree)] for tree in (argument, cotangent))
    missing, needless = ([p for p in one if p not in other] for one, other in ((wanted, found), (found, wanted)))
    if missing:
        return f"{missing[0]}, which is missing"
    return f"{needless[0]}, which the argument has not" if needless else "the type of a node"


def _paths(tree: Any) -> Any:
    return jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda leaf: leaf is None)


def _return(names: list[str]) -> str:
    listed = ", ".join(f"d{name}" for name in names)
    return f"`return ({listed},)`" if len(names) == 1 else f"`return {listed}`"


def _type(x: Any) -> str:
    return f"{jax.dtypes.canonicalize_dtype(x.dtype)}{list(x.shape)}"


def _what(returned: Any) -> str:
    if hasattr(returned, "shape"):
        return "a bare array"
    return "None" if returned is None else f"a {type(returned).__name__}"
