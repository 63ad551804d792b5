"""The structure of a graph: nodes with names, checked and brought into an order in which they can be computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import signature

from jbackprop.networks.rule import Rule


@dataclass(frozen=True)
class Node:
    """A value with a name: `rule` applied to the values named in `inputs`, in the order of its array arguments."""

    name: str
    rule: Rule
    inputs: tuple[str, ...]

    def __post_init__(self):
        _check_tuple(f"node {self.name!r}", self.inputs)


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, made by `build`. `loss_rule` takes the value of `output` and the target."""

    nodes: tuple[Node, ...]
    params: tuple[tuple[str, tuple[int, ...]], ...]
    inputs: tuple[str, ...]
    output: str
    loss_rule: Rule


def build(
    nodes: Sequence[Node],
    params: Mapping[str, tuple[int, ...]],
    output: str,
    loss_rule: Rule,
    inputs: tuple[str, ...] = ("x",),
) -> Graph:
    """Returns the graph, its nodes sorted so that each comes after what it reads; they may be given in any order.

    `params` maps names to shapes.
    Raises: ValueError that names the node for a name given twice, an unknown name, a cycle, a value nobody reads, or
    another number of inputs than its rule takes.
    """
    _check_tuple("the network", inputs)
    _check_names([*params, *inputs, *(node.name for node in nodes)])
    by_name = {node.name: node for node in nodes}
    leaves = {*params, *inputs}
    for node in nodes:
        for name in node.inputs:
            if name not in leaves and name not in by_name:
                raise ValueError(f"graph: node {node.name!r} reads {name!r}, which is no node, parameter or input")
        _check_arity(node)
    if output not in by_name:
        raise ValueError(f"graph: output {output!r} is no node: choose one of {', '.join(map(repr, by_name))}")
    ordered = _topological_order(nodes, leaves)
    read = {name for node in nodes for name in node.inputs}
    for name in [*by_name, *params, *inputs]:
        if name not in read and name != output:
            raise ValueError(f"graph: {name!r} is never read: remove it, or make it the output")
    shapes = tuple((name, tuple(shape)) for name, shape in params.items())
    return Graph(tuple(ordered), shapes, tuple(inputs), output, loss_rule)


def _check_tuple(owner: str, inputs: tuple[str, ...]) -> None:
    if not isinstance(inputs, tuple):
        meant = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        raise ValueError(f"graph: {owner} has inputs {inputs!r}: give a tuple of names, for example {meant}")


def _check_arity(node: Node) -> None:
    arguments = signature(node.rule.fwd)
    try:
        arguments.bind(*node.inputs)
    except TypeError as error:
        # `bind` of a rule fills its static arguments in as keywords; what is left by position are its arrays.
        arrays = [name for name, given in arguments.parameters.items() if given.kind is not given.KEYWORD_ONLY]
        raise ValueError(
            f"graph: node {node.name!r} reads {node.inputs} but its rule takes ({', '.join(arrays)}): {error}"
        ) from None


def _check_names(names: list[str]) -> None:
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ValueError(f"graph: the name {name!r} is given twice: nodes, parameters and inputs share their names")


def _topological_order(nodes: Sequence[Node], known: set[str]) -> list[Node]:
    ordered, waiting, known = [], list(nodes), set(known)
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.inputs)]
        if not ready:
            raise ValueError(f"graph: the nodes {' -> '.join(_cycle(waiting))} form a cycle: no order computes them")
        ordered += ready
        known |= {node.name for node in ready}
        waiting = [node for node in waiting if node.name not in known]
    return ordered


def _cycle(waiting: list[Node]) -> list[str]:
    """Follows, from a node that waits, an input that waits too, until a name comes back."""
    by_name = {node.name: node for node in waiting}
    path = [waiting[0].name]
    while path[-1] not in path[:-1]:
        path.append(next(name for name in by_name[path[-1]].inputs if name in by_name))
    return [repr(name) for name in path[path.index(path[-1]) :]][::-1]
