"""What a mutant changes: for each kind of syntax, the replacements that a careless author could have written."""

import ast
import copy
import re
from collections.abc import Iterator

ARITHMETIC = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//", ast.Pow: "*",
    ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip
COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
OPPOSITES = {
    "max": "min", "min": "max", "any": "all", "all": "any", "argmax": "argmin", "zeros_like": "ones_like",
    "ones_like": "zeros_like", "mean": "sum", "isposinf": "isneginf", "isneginf": "isposinf",
    "issuperset": "issubset",
}  # fmt: skip
TRANSPARENT = {
    "widen", "asarray", "stop_gradient", "reversed", "exp", "log", "tanh", "logistic", "erfc", "sqrt", "sum_leading",
    "astype", "reshape", "transpose", "sum", "list", "dict", "set",
}  # fmt: skip
COTANGENT_FUNCTIONS = re.compile("bwd|backward|cotangent|route")


def replacements(node: ast.AST, definition: ast.stmt) -> Iterator[ast.AST]:
    """Yields what may stand in the place of a node of a definition."""
    for kind, replace in REPLACERS.items():
        if isinstance(node, kind):
            yield from replace(node, definition)


def _binary(node: ast.BinOp, _) -> Iterator[ast.AST]:
    left, right = ast.unparse(node.left), ast.unparse(node.right)
    if type(node.op) in ARITHMETIC:
        yield _expression(f"({left}) {ARITHMETIC[type(node.op)]} ({right})")
    yield node.left
    if isinstance(node.op, ast.Add | ast.Mult | ast.MatMult | ast.BitAnd | ast.BitOr):
        yield node.right
    if isinstance(node.op, ast.Sub):
        yield _expression(f"({right}) - ({left})")


def _unary(node: ast.UnaryOp, _) -> Iterator[ast.AST]:
    yield node.operand


def _constant(node: ast.Constant, _) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(1 if value == 0 else value - 1)
    elif isinstance(value, float):
        yield ast.Constant(value + 1.0)


def _comparison(node: ast.Compare, _) -> Iterator[ast.AST]:
    for i, op in enumerate(node.ops):
        changed = copy.deepcopy(node)
        changed.ops[i] = _as(_expression(f"a {COMPARISONS[type(op)]} b"), ast.Compare).ops[0]
        yield changed


def _boolean(node: ast.BoolOp, _) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    yield from node.values


def _choice(node: ast.IfExp, _) -> Iterator[ast.AST]:
    yield ast.IfExp(node.test, node.orelse, node.body)
    yield from (node.body, node.orelse)


def _branch(node: ast.If, _) -> Iterator[ast.AST]:
    yield ast.If(ast.Constant(False), node.body, node.orelse)
    if not isinstance(node.body[0], ast.Raise):  # a check that always refuses is noticed at once
        yield ast.If(ast.Constant(True), node.body, node.orelse)


def _call(node: ast.Call, _) -> Iterator[ast.AST]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    of_module = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in ("jnp", "jax.lax", "np", "jax")
    is_method = isinstance(node.func, ast.Attribute) and not of_module
    argument = node.func.value if isinstance(node.func, ast.Attribute) and is_method else (node.args or [None])[0]
    if name in TRANSPARENT and argument is not None:
        yield argument
    if name in ("sum", "sum_leading") and argument is not None and not isinstance(argument, ast.GeneratorExp):
        yield _expression(_first_element(name, argument, node))
    if name == "sum" and len(node.args) == 2 and isinstance(argument, ast.GeneratorExp):
        yield node.args[1]
    if name in OPPOSITES:
        yield _expression(re.sub(rf"\b{name}\(", f"{OPPOSITES[name]}(", ast.unparse(node), count=1))
    if name == "where" and len(node.args) == 3:
        yield ast.Call(node.func, [node.args[0], node.args[2], node.args[1]], node.keywords)
        yield from node.args[1:]
    if name == "einsum" and isinstance(node.args[0], ast.Constant):
        for subscripts in _transposed(str(node.args[0].value)):
            yield ast.Call(node.func, [ast.Constant(subscripts), *node.args[1:]], node.keywords)
    if name == "range":
        *start, stop = node.args
        yield ast.Call(node.func, [*start, _expression(f"({ast.unparse(stop)}) - 1")], [])
    for i, keyword in enumerate(node.keywords):
        if keyword.arg != "strict":
            yield ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1 :])


def _first_element(name: str, argument: ast.expr, call: ast.Call) -> str:
    """Instead of the sum over some axes, the first element along them: the shapes still fit."""
    text = ast.unparse(argument)
    if name == "sum_leading":
        return f"({text}).reshape(-1, ({text}).shape[-1])[0]"
    positional = call.args if isinstance(call.func, ast.Attribute) and call.func.value is argument else call.args[1:]
    keywords = {k.arg: ast.unparse(k.value) for k in call.keywords}
    axis = ast.unparse(positional[0]) if positional else keywords.get("axis")
    if axis is None:
        return f"({text}).ravel()[0]"
    taken = f"jnp.take({text}, 0, {axis})"
    return f"jnp.expand_dims({taken}, {axis})" if keywords.get("keepdims") == "True" else taken


def _transposed(subscripts: str) -> list[str]:
    """Each operand and the result with the last two letters exchanged, and the two operands exchanged."""
    operands, result = subscripts.split("->")
    parts = [*operands.split(","), result]
    flipped = [re.sub(r"([a-z])(\.*)([a-z])$|(\.\.\.)([a-z])$", _exchange, part) for part in parts]
    changed = [[*parts[:i], flipped[i], *parts[i + 1 :]] for i in range(len(parts)) if flipped[i] != parts[i]]
    if len(parts) == 3:
        changed.append([parts[1], parts[0], parts[2]])
    return [",".join(part[:-1]) + "->" + part[-1] for part in changed]


def _exchange(match: re.Match[str]) -> str:
    first, dots, second, leading, letter = match.groups()
    return f"{letter}{leading}" if leading else f"{second}{dots}{first}"


def _subscript(node: ast.Subscript, _) -> Iterator[ast.AST]:
    slices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    for i, part in enumerate(slices):
        if isinstance(part, ast.Slice) and part.step is not None:
            kept = [*slices[:i], ast.Slice(), *slices[i + 1 :]]
            yield ast.Subscript(node.value, ast.Tuple(kept, ast.Load()) if len(kept) > 1 else kept[0], ast.Load())


def _attribute(node: ast.Attribute, _) -> Iterator[ast.AST]:
    if node.attr in ("T", "mT"):
        yield node.value


def _pairs_swapped(values: list) -> Iterator[list]:
    for i in range(len(values) - 1):
        yield [*values[:i], values[i + 1], values[i], *values[i + 2 :]]


def _dictionary(node: ast.Dict, _) -> Iterator[ast.AST]:
    for values in _pairs_swapped(node.values):
        yield ast.Dict(node.keys, values)


def _returned(node: ast.Return, definition: ast.stmt) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, ast.Tuple):
        yield from (ast.Return(ast.Tuple(elements, ast.Load())) for elements in _pairs_swapped(value.elts))
    if value is None or not COTANGENT_FUNCTIONS.search(getattr(definition, "name", "")):
        return
    if isinstance(value, ast.Tuple):
        for i, element in enumerate(value.elts):
            if ast.unparse(element) != "None":
                yield ast.Return(ast.Tuple([*value.elts[:i], _zeros(element), *value.elts[i + 1 :]], ast.Load()))
    elif isinstance(value, ast.Dict):
        for i, element in enumerate(value.values):
            yield ast.Return(ast.Dict(value.keys, [*value.values[:i], _zeros(element), *value.values[i + 1 :]]))
    else:
        yield ast.Return(_zeros(value))


def _zeros(value: ast.expr) -> ast.expr:
    return _expression(f"jax.tree.map(jnp.zeros_like, {ast.unparse(value)})")


def _assignment(node: ast.Assign, definition: ast.stmt) -> Iterator[ast.AST]:
    target = node.targets[0]
    if isinstance(target, ast.Tuple) and isinstance(definition, ast.FunctionDef):
        for elements in _pairs_swapped(target.elts):
            if not any(isinstance(element, ast.Starred) for element in elements):
                yield ast.Assign([ast.Tuple(elements, ast.Store())], node.value, lineno=node.lineno)
    if isinstance(target, ast.Name) and _stores(definition).count(target.id) > 1:
        yield ast.Pass()


def _stores(definition: ast.stmt) -> list[str]:
    stored = [
        node.id for node in ast.walk(definition) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    return stored + [node.arg for node in ast.walk(definition) if isinstance(node, ast.arg)]


def _in_place(node: ast.AugAssign, _) -> Iterator[ast.AST]:
    yield ast.Pass()
    yield ast.Assign([node.target], node.value, lineno=node.lineno)
    if type(node.op) in ARITHMETIC:
        op = _as(_expression(f"a {ARITHMETIC[type(node.op)]} b"), ast.BinOp).op
        yield ast.AugAssign(node.target, op, node.value)


def _statement(node: ast.Expr, _) -> Iterator[ast.AST]:
    yield ast.Pass()


REPLACERS = {
    ast.BinOp: _binary, ast.UnaryOp: _unary, ast.Constant: _constant, ast.Compare: _comparison, ast.BoolOp: _boolean,
    ast.IfExp: _choice, ast.If: _branch, ast.Call: _call, ast.Subscript: _subscript, ast.Dict: _dictionary,
    ast.Attribute: _attribute, ast.Return: _returned, ast.Assign: _assignment, ast.AugAssign: _in_place,
    ast.Expr: _statement,
}  # fmt: skip


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _as(node, kind):
    assert isinstance(node, kind)
    return node
