"""Mutants of Python source: small wrong versions of each function, one change at a time.

A mutant is a piece of syntax, its replacement, and the syntax tree of the function (or module constant) that contains
it. The changes are those that a hand-written backward pass is prone to: signs, factors, sums, transposes, comparisons,
branches, constants, swapped and missing cotangents.

Left alone: docstrings, annotations, type aliases, `raise` statements and the strings that go into their messages.
The conditions that lead to a `raise` are mutated: a check that no longer refuses must be noticed.
"""

import ast
import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from experiments.mutation_operators import replacements


@dataclass(frozen=True)
class Mutant:
    """The statement `old` became `new` in a function; `tree` is the whole changed definition."""

    file: str
    function: str
    line: int
    old: str
    new: str
    tree: ast.stmt = field(compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}\n    - {self.old}\n    + {self.new}"


def mutants_of(source: str, file: str) -> list[Mutant]:
    """Returns every mutant of every function, method and constant of a module, without duplicates."""
    found = []
    for name, definition in _definitions(ast.parse(source), ""):
        seen, frozen = {ast.unparse(definition)}, _frozen_parts(definition)
        for position, node in enumerate(ast.walk(definition)):
            for new in () if id(node) in frozen else replacements(node, definition):
                tree = _replaced(definition, position, new)
                text = ast.unparse(tree)
                if text not in seen:
                    seen.add(text)
                    line = getattr(node, "lineno", definition.lineno)
                    found.append(Mutant(file, name, line, *_difference(definition, tree), tree))
    return sorted(found, key=lambda mutant: mutant.line)


def mutated_source(source: str, mutant: Mutant) -> str:
    """Returns the whole module with the mutant in it, decorators and annotations kept."""
    module = ast.parse(source)
    for holder in (module, *(node for node in module.body if isinstance(node, ast.ClassDef))):
        for position, node in enumerate(holder.body):
            name = _target(node) or getattr(node, "name", None)
            if name is not None and mutant.function in (name, f"{getattr(holder, 'name', '')}.{name}"):
                holder.body[position] = _with_mutant(node, mutant.tree)
    return ast.unparse(ast.fix_missing_locations(module))


def _with_mutant(node: ast.stmt, tree: ast.stmt) -> ast.stmt:
    if isinstance(node, ast.FunctionDef) and isinstance(tree, ast.FunctionDef):
        node.args.defaults, node.args.kw_defaults, node.body = tree.args.defaults, tree.args.kw_defaults, tree.body
        return node
    return tree


def _target(node: ast.AST) -> str | None:
    """The name of a module constant, in capitals: a CamelCase name is a type alias."""
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and re.fullmatch("_?[A-Z0-9_]+", target.id):
            return target.id
    return None


def _difference(old: ast.stmt, new: ast.stmt) -> tuple[str, str]:
    """The statements in which two versions differ, each on one line."""
    before, after = ast.unparse(old).splitlines(), ast.unparse(new).splitlines()
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    tail = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(before[:same:-1], after[:same:-1], strict=False))
    rest = sum(1 for _ in tail)
    return tuple(" ; ".join(map(str.strip, lines[same : len(lines) - rest])) for lines in (before, after))  # type: ignore[return-value]


def _definitions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, _without_words(node)
        elif isinstance(node, ast.ClassDef):
            yield from _definitions(node, f"{node.name}.")
        elif not prefix and (name := _target(node)):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            constant = ast.Assign([ast.Name(name, ast.Store())], node.value)  # type: ignore[list-item]
            yield name, ast.fix_missing_locations(ast.copy_location(constant, node))


def _without_words(function: ast.FunctionDef) -> ast.FunctionDef:
    """The function without decorators, annotations and docstring: nothing in them is run by a call."""
    function = copy.deepcopy(function)
    function.decorator_list, function.returns = [], None
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.fix_missing_locations(function)


def _frozen_parts(definition: ast.AST) -> set[int]:
    """Ids of the nodes inside a `raise`, an f-string or a `strict=True`, which only helps to find mistakes."""
    frozen = set()
    for node in ast.walk(definition):
        strict = isinstance(node, ast.keyword) and node.arg == "strict"
        if strict or isinstance(node, ast.Raise | ast.JoinedStr):
            frozen |= {id(inner) for inner in ast.walk(node)}
    return frozen


def _replaced(definition: ast.stmt, position: int, new: ast.AST) -> ast.stmt:
    tree = copy.deepcopy(definition)
    nodes = list(ast.walk(tree))
    target = nodes[position]
    new = ast.copy_location(copy.deepcopy(new), target)
    for parent in nodes:
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is target for item in value):
                setattr(parent, name, [new if item is target else item for item in value])
    return ast.fix_missing_locations(tree)
