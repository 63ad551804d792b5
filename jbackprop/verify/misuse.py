"""What a user did, in words, where JAX's own message is about JAX."""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import jax
from jax.core import Tracer

from jbackprop.verify.rule import Rule, arrays, is_rule, with_arrays
from jbackprop.verify.structure import in_one_line


def in_words(error: Exception, rule: Rule | None) -> str:
    """Returns what went wrong when a function or its rule was traced, and the remedy; else the error's first line."""
    if isinstance(error, jax.errors.UnexpectedTracerError) and "nondiff_arg" in str(error):
        wanted = called(rule) if rule else "bwd(static..., residuals, ct)"
        return (
            "an array stands among the static arguments (nondiff_argnums), which must be Python values: take it out of "
            f"nondiff_argnums and return None for it, or pass a Python value; bwd is called as {wanted}"
        )
    if isinstance(error, jax.errors.UnexpectedTracerError) or "closed-over value" in str(error):
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(_closed_over(error)))
        if not names and "closed-over value" not in str(error):
            return "the rule closes over a traced value, or leaves one outside: pass it as an argument or a residual"
        what = names or "a value that is differentiated"
        return f"the rule closes over {what}: pass it as an argument and return its cotangent from bwd"
    if rule is None or not isinstance(error, TypeError):
        return in_one_line(error)
    if "is not a valid JAX type" in str(error) or "Error interpreting argument" in str(error):
        given = [rule.names[i] for i, argument in enumerate(rule.args) if i not in rule.static and _has_words(argument)]
        if given:
            return f"{given[0]} is no array: declare it static, in nondiff_argnums"
        return f"fwd or bwd returns something that is no array: {in_one_line(error)}"
    if rule.plain and not _accepts(rule.bwd, len(rule.static) + 2):
        return f"bwd is called as {called(rule)}, which its signature {inspect.signature(rule.bwd)} does not take"
    by_name = list(_by_name_alone(rule.fwd))
    if by_name:
        return (
            f"a rule gets all arguments by position, and fwd takes {', '.join(by_name)} by name alone: take out the `*`"
        )
    if not _accepts(rule.fwd, len(rule.args)):
        arguments = ", ".join(rule.names)
        return f"fwd is called with all {len(rule.args)} arguments of the primal, also the static ones: {arguments}"
    return in_one_line(error)


def exchanged_in_words(rule: Rule | None) -> str:
    """Returns that fwd and bwd, or what fwd returns, stand in the wrong order, where the other order would do."""
    if rule is None or not rule.plain:
        return ""
    value = _types(lambda values: rule.primal(*with_arrays(rule, values)), rule)
    pair = _types(lambda values: rule.fwd(*with_arrays(rule, values)), rule)
    if isinstance(pair, tuple) and len(pair) == 2 and pair[1] == value and not _of_one_shape(pair[0], value):
        return "where the residuals stand first, write `return value, residuals`"

    def other_way_round(values: list[Any]) -> Any:
        out, residuals = rule.bwd(*with_arrays(rule, values))
        return out, rule.fwd(*(rule.args[i] for i in sorted(rule.static)), residuals, out)

    arguments = _types(lambda values: tuple(values), rule)
    if value is not None and _types(other_way_round, rule) == (value, arguments):
        return "fwd and bwd are exchanged: write `f.defvjp(fwd, bwd)`"
    return ""


def _of_one_shape(one: Any, other: Any) -> bool:
    """Whether two results of `_types` differ in their dtypes at most."""
    shapes = [jax.tree.map(lambda text: text.partition("[")[2], tree) for tree in (one, other)]
    return bool(shapes[0] == shapes[1])


def _types(of: Callable[[list[Any]], Any], rule: Rule) -> Any:
    """Returns shapes and dtypes of what a function of the rule's arrays returns, None where it does not run."""
    try:
        return jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", jax.eval_shape(of, arrays(rule)))
    except Exception:  # whatever a rule in the wrong order raises
        return None


def static_order_in_words(rule: Rule | None) -> str:
    """Returns that `bwd` takes its static arguments in another place than JAX gives them, as their names say."""
    if rule is None or not rule.static:
        return ""
    try:
        taken = list(inspect.signature(rule.bwd).parameters)
    except (TypeError, ValueError):  # a builtin without a signature
        return ""
    if any(name in taken[len(rule.static) :] for name in rule.static_names):
        return f"bwd is called as {called(rule)}, static arguments first, and its signature is ({', '.join(taken)})"
    return ""


def called(rule: Rule) -> str:
    """Returns how JAX calls `bwd`: `bwd(axis, residuals, dz)`."""
    return f"bwd({', '.join([*(rule.names[i] for i in sorted(rule.static)), 'residuals', 'ct'])})"


def residuals_in_words(error: Exception, rule: Rule, saved: Any) -> str:
    """Returns the error of a `bwd` that runs wrong, with the structure of what it was given."""
    explained = in_words(error, rule)
    unpacking = isinstance(error, TypeError | ValueError | AttributeError | KeyError | IndexError)
    if explained != in_one_line(error) or not unpacking:
        return explained
    shapes = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else leaf, saved)
    return f"{explained}; bwd received residuals of structure {shapes}, as fwd saved them".replace("'", "")


def _closed_over(error: Exception) -> Iterator[str]:
    """Yields the traced variables that a frame of the error, or a rule in it, takes from around itself."""
    traceback = error.__traceback__
    while traceback is not None:
        frame: FrameType = traceback.tb_frame
        inside_jax = str(frame.f_globals.get("__name__", "")).split(".")[0] in ("jax", "jbackprop")
        if not inside_jax:
            for name in frame.f_code.co_freevars:
                if isinstance(frame.f_locals.get(name), Tracer):
                    yield name
            for value in list(frame.f_locals.values()):
                if is_rule(value):
                    for function in (value.fwd, value.bwd):
                        yield from _free_tracers(function)
        traceback = traceback.tb_next


def _free_tracers(function: Callable[..., Any]) -> Iterator[str]:
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        if isinstance(cell.cell_contents, Tracer):
            yield name


def _has_words(argument: Any) -> bool:
    return any(isinstance(leaf, str) for leaf in jax.tree.leaves(argument))


def _by_name_alone(function: Callable[..., Any]) -> Iterator[str]:
    with contextlib.suppress(ValueError):  # a builtin without a signature
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
                yield parameter.name


def _accepts(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True
