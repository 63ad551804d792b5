"""The call that `jbackprop check` makes: what stands on the command line, in the order of the function's signature."""

import ast
import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from jbackprop.commands.find_function import Function
from jbackprop.verify.argument_specs import parse
from jbackprop.verify.drawn_arguments import SpecError

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class CallError(Exception):
    """The arguments are not those of the function, or cannot be read."""


def read_arguments(texts: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Returns the arguments by position and those by name, described but not drawn. Raises `CallError`.

    >>> read_arguments(["0.5", "eps=1.0"])
    ([0.5], {'eps': 1.0})
    """
    positional, named = [], {}
    for text in texts:
        name, equals, spec = text.partition("=")
        by_name = bool(equals) and name.strip().isidentifier()
        try:
            described = parse(spec.strip() if by_name else text)
        except SpecError as error:
            raise CallError(f"--arg cannot be read: {error}") from None
        if by_name:
            named[name.strip()] = described
        else:
            positional.append(described)
    return positional, named


def read_static(texts: Sequence[str]) -> dict[str, Any]:
    """Returns `name=value` pairs with Python's literals for values; a plain word is a string. Raises `CallError`.

    >>> read_static(["n=3", "window=2,2", "padding=SAME"])
    {'n': 3, 'window': (2, 2), 'padding': 'SAME'}
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise CallError(f"--static {text!r} cannot be read: write name=value, for example n=3 or padding=SAME")
        found[name.strip()] = _literal(name.strip(), value.strip())
    return found


def _literal(name: str, value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    if value.capitalize() in ("True", "False", "None"):
        raise CallError(f"--static {name}={value}: Python writes {value.capitalize()}")
    if not value.replace("-", "_").isidentifier():
        raise CallError(f"--static {name}={value} cannot be read: a number, a word, or any literal of Python is wanted")
    return value


def named_once(named: Mapping[str, Any], static: Mapping[str, Any]) -> dict[str, Any]:
    """Returns both together. Raises `CallError` where a name is in both.

    >>> named_once({"eps": 1.0}, {"n": 3})
    {'eps': 1.0, 'n': 3}
    """
    if both := sorted(named.keys() & static.keys()):
        raise CallError(f"{both[0]} is given by --arg and by --static")
    return {**named, **static}


def arranged(
    f: Function, name: str, positional: Sequence[Any], named: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns `args, kwargs` for `f`: the positional ones fill, in order, the parameters that are not named.

    Raises `CallError` where they are too many or too few, or a name is none of the function's.

    >>> arranged(lambda x, n, w: None, "f", ["X", "W"], {"n": 3})
    (('X', 3, 'W'), {})
    """
    try:
        parameters = list(inspect.signature(f[0] if isinstance(f, tuple) else f).parameters.values())
    except (TypeError, ValueError):  # some builtins have none
        return tuple(positional), dict(named)
    shown = f"{name}({', '.join(str(p.replace(annotation=p.empty)) for p in parameters)})"
    _require_known(shown, parameters, named)
    free = [p.name for p in parameters if p.kind in POSITIONAL and p.name not in named]
    given = dict(zip(free, positional, strict=False)) | dict(named)
    rest = list(positional[len(free) :])
    if rest and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise CallError(f"{shown} takes {len(free)} arguments by position here, got {len(positional)}")
    options = (p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    missing = [p.name for p in options if p.default is p.empty and p.name not in given]
    if missing:
        raise CallError(
            f"{shown}: {', '.join(missing)} missing; give an array as --arg SPEC, anything else as --static NAME=VALUE"
        )
    args = []
    for parameter in parameters:
        if parameter.kind not in POSITIONAL or parameter.name not in given:
            break
        args.append(given.pop(parameter.name))
    return (*args, *rest), given


def _require_known(shown: str, parameters: Sequence[inspect.Parameter], named: Mapping[str, Any]) -> None:
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    for name in named:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise CallError(f"{shown} has no argument {name!r}" + (f": did you mean {close[0]}?" if close else ""))
