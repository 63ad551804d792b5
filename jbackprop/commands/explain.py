"""`jbackprop explain NAME`."""

import argparse
import importlib
import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import jbackprop
from jbackprop.commands.options import misuse
from jbackprop.verify.case import NetworkCase, RuleCase


def main(arguments: Sequence[str]) -> int:
    """Prints what a rule or a network is, and its code."""
    parser = argparse.ArgumentParser(
        prog="jbackprop explain", description="Show a rule's or a network's formula, conventions and code."
    )
    parser.add_argument("name", help="a rule or a network of `jbackprop list`, for example linear")
    name = parser.parse_args(arguments).name
    from jbackprop.commands.cases import UnknownName, find

    try:
        case = find(name)
    except UnknownName as error:
        return misuse("explain", error)
    print(explain_rule(case) if isinstance(case, RuleCase) else explain_network(case))
    return 0


def explain_rule(case: RuleCase) -> str:
    """Returns the rule's row of the registry and the code of its two passes."""
    module = importlib.import_module(f"jbackprop.layers.{case.name}")
    facts = {
        "cotangents": case.formula,
        "shapes": case.shapes,
        "residuals": case.residuals,
        "convention": case.convention,
        "source": case.source,
        "code": code_path(module),
        "derivation": derivation_path(case.name),
    }
    passes = [getattr(module, f"{case.name}_{suffix}") for suffix in ("fwd", "bwd")]
    return _page(case.name, module, facts, passes)


def explain_network(case: NetworkCase) -> str:
    """Returns the network's row of the registry, its options, and the code of its passes."""
    loss = case.loss
    options = loss.keywords if isinstance(loss, partial) else {}
    module = inspect.getmodule(inspect.unwrap(loss.func if isinstance(loss, partial) else loss))
    assert module is not None
    facts = {
        "formula": case.formula,
        "shapes": shapes(module),
        "options": ", ".join(f"{name} = {value!r}" for name, value in options.items()),
        "source": case.source,
        "code": code_path(module),
        "derivation": derivation_path(module.__name__.rpartition(".")[2]),
    }
    return _page(case.name, module, facts, [module.forward, module.backward, module.loss_and_grads])


def shapes(module: ModuleType) -> str:
    """Returns what the module's docstring says behind "Shapes:", on one line; nothing where it does not."""
    _, _, behind = inspect.cleandoc(module.__doc__ or "").partition("Shapes: ")
    paragraph = re.split(r"\n\n|\nSource:", behind)[0]
    return readable(" ".join(paragraph.split()))


def readable(text: str) -> str:
    """Returns the text of a docstring without the marks of its mathematics and code.

    >>> readable("a batch of $B$ rows `x` of width $d_1$")
    'a batch of B rows x of width d_1'
    """
    return re.sub(r"[$`]", "", text)


def code_path(module: ModuleType) -> str:
    """Returns the module's file relative to the folder that holds the package."""
    return str(Path(module.__file__ or "").relative_to(_root()))


def derivation_path(name: str) -> str:
    """Returns the derivation page of a repository's clone; nothing where only the package is installed."""
    page = Path("docs", "derivations", f"{name}.md")
    return str(page) if (_root() / page).exists() else ""


def _root() -> Path:
    return Path(jbackprop.__path__[0]).parent


def _page(name: str, module: ModuleType, facts: dict[str, str], functions: list[Callable[..., Any]]) -> str:
    title = readable((module.__doc__ or "").partition("\n")[0])
    width = max(map(len, facts))
    lines = [f"{key:<{width}}  {value}" for key, value in facts.items() if value]
    code = [inspect.getsource(function).rstrip() for function in functions]
    return "\n".join([f"{name}: {title}", "", *lines, "", "\n\n".join(code)])
