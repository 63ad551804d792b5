"""Random arguments described in a few letters: `f32[8,16]`, `i32[8]<10`, `{"w": f32[8,4], "b": f32[4]}`."""

import ast
import difflib
import math
import re
from typing import Any

import jax

from jbackprop.verify.drawn_arguments import Drawn, Key, SpecError, integer_range

GRAMMAR = """how to write an argument (in quotes: the shell reads [ ] < > itself):
  f32[8,16]             normal numbers of that shape; f32[] is a scalar
                        also f16 bf16 f64, i8 to i64, u8 to u64, bool, c64 c128,
                        or NumPy's names, such as float32
  i32[8]<10             whole numbers from 0 to 9; without a bound 0 and 1, u8 0 to 255
  f32[8]>0              positive; <, <=, > and >= all work
  0<f32[4]<1            between two bounds
  f32[8,10]:prob        rows of probabilities, which add up to 1
  f32[8,10]:onehot      rows with a single 1
  f32[4,8,8,3]:ties     multiples of 1/2 from -1 to 1, so with ties and exact zeros
  f32[4,8,8,3]:distinct no two alike
  f32[3]:zeros :ones    all the same
  key                   a key of jax.random
  {"w": f32[8,4], "b": f32[4]}   a dictionary
  [f32[3], f32[4]]      a list
  (f32[3], 0.5, None)   a tuple, here with constants
  mask=bool[5,5]        any of these by name"""

DTYPES = {
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "bf16": "bfloat16",
    "bool": "bool",
    "c64": "complex64",
    "c128": "complex128",
}
KINDS = ("prob", "onehot", "ties", "distinct", "zeros", "ones")
MOST = 2**27  # elements of one array: a slip of the pen must not take the machine's memory
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def parse(text: str) -> Any:
    """Returns the described pytree with a `Drawn` or `Key` for each array, constants as they are. Raises `SpecError`.

    >>> parse("i32[8]<10").high
    10.0
    >>> parse('{"w": f32[8,4], "b": 0.5}')["b"]
    0.5
    """
    try:
        made, end = _value(text, 0)
    except RecursionError:
        raise SpecError("brackets within brackets without end") from None
    end = _skip(text, end)
    if end < len(text):
        raise _error(text, end, f"nothing is expected behind {text[:end].strip()!r}")
    return made


def needs_x64(described: Any) -> bool:
    """Whether an array has 64 bits, which JAX cuts to 32 unless it is told otherwise."""
    leaves = jax.tree.leaves(described, is_leaf=lambda leaf: isinstance(leaf, Drawn))
    return any(
        isinstance(leaf, Drawn) and leaf.dtype in ("float64", "int64", "uint64", "complex128") for leaf in leaves
    )


def _value(text: str, at: int) -> tuple[Any, int]:
    at = _skip(text, at)
    if text[at : at + 1] in ("[", "("):
        made, end = _items(text, at, {"[": "]", "(": ")"}[text[at]])
        return (made if text[at] == "[" else tuple(made)), end
    if text[at : at + 1] == "{":
        made, end = _items(text, at, "}")
        return dict(made), end
    end, depth = at, 0
    while end < len(text) and (depth or text[end] not in ",]})"):
        depth += (text[end] == "[") - (text[end] == "]")
        end += 1
    return _leaf(text, at, len(text[:end].rstrip())), end


def _items(text: str, start: int, closing: str) -> tuple[list[Any], int]:
    """The values, or for a dictionary the pairs, between brackets; the position behind the closing one."""
    made, at = [], _skip(text, start + 1)
    while text[at : at + 1] != closing:
        if at >= len(text):
            raise _error(text, start, f"no {closing} closes this {text[start]}")
        if closing == "}":
            named = re.compile(r"""(?:"([^"]*)"|'([^']*)'|(\w+))\s*:""").match(text, at)
            if not named:
                raise _error(text, at, "a name and a colon are expected here")
            value, at = _value(text, named.end())
            made.append((next(name for name in named.groups() if name is not None), value))
        else:
            value, at = _value(text, at)
            made.append(value)
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif at < len(text) and text[at] != closing:
            raise _error(text, at, f"a comma or {closing} is expected here")
    return made, at + 1


def _leaf(text: str, at: int, end: int) -> Any:
    if text[at:end] == "key":
        return Key()
    try:
        return ast.literal_eval(text[at:end])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return _described(text, at, end)


def _described(text: str, start: int, end: int) -> Drawn:
    """Reads `0 <= f32[4] < 1 : kind`, of which the dtype alone is needed."""
    below = re.compile(rf"({NUMBER})\s*(<=?|>=?)\s*").match(text, start, end)
    at = below.end() if below else start
    name = re.compile(r"\w*").match(text, at, end)
    assert name is not None
    dtype = _dtype(text, at, name[0])
    shape, at = _shape(text, min(_skip(text, name.end()), end), end)
    above = re.compile(rf"\s*(<=?|>=?)\s*({NUMBER})").match(text, at, end)
    at = above.end() if above else at
    kind = re.compile(r"\s*:\s*(\w*)").match(text, at, end)
    if kind and kind[1] not in KINDS:
        raise _error(text, kind.start(1), f"{_unknown(kind[1], KINDS)}; there are {', '.join(KINDS)}")
    at = kind.end() if kind else at
    if at < end:
        raise _error(text, at, "this cannot be read")
    found = {}
    if below:
        found |= _bound({"<": ">", ">": "<"}[below[2][0]] + below[2][1:], below[1])
    if above:
        found |= _bound(above[1], above[2])
    if below and above and len(found) < 4:
        raise _error(text, start, "two bounds on the same side")
    made = Drawn(text[start:end], dtype, shape, **found, kind=kind[1] if kind else "")
    _require_possible(text, start, made)
    return made


def _bound(sign: str, number: str) -> dict[str, Any]:
    side = "high" if sign[0] == "<" else "low"
    return {side: float(number), f"open_{side}": len(sign) == 1}


def _dtype(text: str, at: int, name: str) -> str:
    known = {**DTYPES, **{full: full for full in DTYPES.values()}}
    if name in known:
        return known[name]
    found = f"{_unknown(name, known)}; there are {' '.join(DTYPES)}" if name else "a dtype is expected here"
    raise _error(text, at, found)


def _shape(text: str, at: int, end: int) -> tuple[tuple[int, ...], int]:
    if text[at:end].startswith("("):
        raise _error(text, at, "a shape stands in square brackets")
    if not text[at:end].startswith("["):
        return (), at
    closing = text.find("]", at, end)
    if closing < 0:
        raise _error(text, at, "no ] closes this [")
    sizes = re.compile(r"\s*(\d+\s*(,\s*\d+\s*)*,?\s*)?").fullmatch(text, at + 1, closing)
    if not sizes:
        raise _error(text, at + 1, "a shape is whole numbers with commas between them")
    return tuple(int(size) for size in re.findall(r"\d+", text[at + 1 : closing])), closing + 1


def _require_possible(text: str, at: int, drawn: Drawn) -> None:
    integers = drawn.dtype.startswith(("int", "uint", "bool"))
    bounded = drawn.low is not None or drawn.high is not None
    if math.prod(drawn.shape) > MOST:
        raise _error(text, at, f"{math.prod(drawn.shape)} elements are more than the {MOST} that are drawn at most")
    if bounded and drawn.kind:
        raise _error(text, at, f":{drawn.kind} takes no bounds")
    if bounded and drawn.dtype.startswith(("bool", "complex")):
        raise _error(text, at, f"{drawn.dtype} takes no bounds")
    if drawn.kind in ("prob", "onehot") and (not drawn.shape or 0 in drawn.shape):
        raise _error(text, at, f":{drawn.kind} needs rows, got the shape {list(drawn.shape)}")
    if drawn.kind in ("prob", "ties", "distinct") and integers:
        raise _error(text, at, f":{drawn.kind} needs a float dtype, got {drawn.dtype}")
    if integers and drawn.dtype != "bool":
        low, past = integer_range(drawn)
        if low >= past:
            raise _error(text, at, f"no {drawn.dtype} lies within these bounds")
    elif drawn.low is not None and drawn.high is not None and drawn.low >= drawn.high:
        raise _error(text, at, "nothing lies between these bounds")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _unknown(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"{name!r} is unknown" + (f": did you mean {close[0]}?" if close else "")


def _error(text: str, at: int, found: str) -> SpecError:
    example = 'for example "f32[8,16]", "i32[8]<10", "0<f32[4]<1", "{w: f32[8,4], b: f32[4]}"'
    return SpecError(f"{found}\n  {text}\n  {' ' * at}^\n{example}")
