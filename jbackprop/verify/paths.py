"""The parts of a gradient: what flows through one operand of one operation of the primal, and what all the rest is.

A term that is missing from a rule, such as that of the mean in a layer norm, is such a part: the gradient as it is,
less the gradient with `stop_gradient` at that operand. Calls, loops and branches are taken apart, linear solves not.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from textwrap import shorten
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, Var

from jbackprop.verify.arguments import Call
from jbackprop.verify.compiling import BARELY_OPTIMISED
from jbackprop.verify.distance import as_double
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.hypotheses.leaf import Parts
from jbackprop.verify.inline import without_rules
from jbackprop.verify.model_names import line_of_code, opened, place
from jbackprop.verify.pullback import split_outputs
from jbackprop.verify.widen import AsTraced, Place, called_by, carried_out, operands_of_scan

MOST = 150  # operands; of larger programs nothing is said
LONGEST = 75  # line of code that is quoted whole
NONE = -1  # is the number of no operand
Key = tuple[Place, int, int]  # an equation's place and identity, and the number of the operand


class _Name(NamedTuple):
    """What an operation is called, and the line of code that it is in."""

    name: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.where}".strip()


class _Origin(NamedTuple):
    """Where an operand comes from."""

    name: _Name
    key: Any  # one for each number that is computed, whoever reads it
    is_leaf: bool
    alone: bool  # it was made of one active operand only, and has one reader: nothing else flows through it


class _Operand(NamedTuple):
    """A number that an operation reads, once or, as in x * x, several times."""

    keys: frozenset[Key]
    origin: _Origin
    reader: _Name

    def __str__(self) -> str:
        start, end = self.origin.name, self.reader
        if start.where and start.where == end.where:
            return f"what flows from {start.name} into {end.name}, both {end.where},"
        return f"what flows from {start} into {end}"


def paths_of(oracle: Callable[..., Any], call: Call, way: AsTraced | None) -> Parts | None:
    """Returns the parts of the oracle's gradient, None where there is no float64 run or the program is too large."""
    if way is None:
        return None
    with jax.enable_x64(way.x64):
        jaxpr = jax.make_jaxpr(lambda leaves: split_outputs(oracle, call, leaves)[0])(way.leaves)
    plain = without_rules(jaxpr, custom_jvp=True)
    names = [call.names[position] for position in call.differentiated]
    leaves = [_Origin(_Name(f"`{name}`"), ("leaf", name), True, False) for name in names]
    cuts = _cuts(list(_operands(plain, dict(zip(opened(plain).invars, leaves, strict=True)), (), "")))
    if not 1 < len(cuts) <= MOST:
        return None
    number = {key: [k for k, (_, keys) in enumerate(cuts) if key in keys] for _, keys in cuts for key in keys}

    def gradient(which: Any, values: Sequence[Any], d_out: Sequence[Any]) -> Any:
        def gate(here: Place, equation: Any, operands: list[Any]) -> list[Any]:
            return [
                _gated(x, which, number.get((here, id(equation), position), ())) for position, x in enumerate(operands)
            ]

        outputs, vjp = jax.vjp(lambda *leaves: tuple(carried_out(plain, leaves, way.floor, gate)), *values)
        return vjp(tuple(ct.astype(y.dtype) for ct, y in zip(d_out, outputs, strict=True)))

    values, run = to_float64(call.values), jax.jit(gradient, compiler_options=BARELY_OPTIMISED)

    def without(which: Sequence[int], d_out: Sequence[np.ndarray]) -> list[np.ndarray]:
        two = np.asarray([*which, NONE, NONE][:2], np.int32)
        with float64_scope():
            return [as_double(ct) for ct in run(two, values, tuple(to_float64(tuple(d_out))))]

    return Parts(tuple(words for words, _ in cuts), without)


def _gated(x: Any, which: Any, cuts: Sequence[int]) -> Any:
    if not cuts:
        return x
    return jnp.where(jnp.isin(which, np.asarray(cuts, np.int32)).any(), jax.lax.stop_gradient(x), x)


def _cuts(operands: Sequence[_Operand]) -> list[tuple[str, frozenset[Key]]]:
    """Returns what may be cut: an operand, or all operands that are the same number."""
    cuts = [(str(one), one.keys) for one in operands if not one.origin.alone]
    readers: dict[Any, list[_Operand]] = {}
    for one in operands:
        readers.setdefault(one.origin.key, []).append(one)
    for several in readers.values():
        if len(several) > 1 and not several[0].origin.is_leaf:
            keys = [one.keys for one in several]
            cuts.append((f"what flows through {several[0].origin.name}", frozenset[Key]().union(*keys)))
    return cuts


def _operands(jaxpr: Any, origins: dict[Var, _Origin], at: Place, called_in: str) -> Iterator[_Operand]:
    """Yields the operands through which a gradient flows, in the order of the program; adds to `origins`.

    `called_in` is the line of the call, for equations that JAX traced in another one.
    """
    readers = Counter(map(id, _atoms_read(jaxpr)))
    for number, equation in enumerate(opened(jaxpr).eqns):
        here, given = (*at, number), [_origin(atom, origins) for atom in equation.invars]
        active: dict[Any, list[int]] = {}
        for position, atom in enumerate(equation.invars):
            if given[position] is not None:
                active.setdefault(atom, []).append(position)
        if not active:
            continue
        reader = _Name(f"`{equation.primitive.name}`", _where(equation) or called_in)
        nested = list(_nested(equation, given, reader, here))
        for inside, known in nested:
            yield from _operands(inside, known, here, reader.where)
        for atom, positions in active.items() if not nested else ():
            keys = frozenset((here, id(equation), position) for position in positions)
            yield _Operand(keys, origins[atom], reader)
        made = _Origin(reader, (here, id(equation)), False, not nested and len(active) == 1)
        for variable, origin in zip(equation.outvars, _made(equation, nested, made), strict=True):
            if origin is not None and jnp.issubdtype(getattr(variable.aval, "dtype", np.int32), jnp.inexact):
                origins[variable] = origin._replace(alone=origin.alone and readers[id(variable)] == 1)


def _atoms_read(jaxpr: Any) -> Iterator[Any]:
    for equation in opened(jaxpr).eqns:
        yield from equation.invars
    yield from opened(jaxpr).outvars


def _made(equation: Any, nested: list[tuple[Any, dict[Var, _Origin]]], made: _Origin) -> list[_Origin | None]:
    """Returns where each result of an equation comes from: of a call, from the equation inside that makes it."""
    called = called_by(equation)
    if called is None or not nested:
        return [made._replace(key=(*made.key, k)) for k in range(len(equation.outvars))]
    return [_origin(atom, nested[0][1]) for atom in opened(called).outvars]


def _nested(
    equation: Any, given: list[_Origin | None], reader: _Name, here: Place
) -> Iterator[tuple[Any, dict[Var, _Origin]]]:
    """Yields the jaxprs that an equation runs, with where their arguments come from."""
    name, params, called = equation.primitive.name, equation.params, called_by(equation)
    if name == "scan":
        fixed, start, rows = operands_of_scan(params, given)
        state = _Name(f"the state of the {reader.name}")
        carries = [_Origin(state, (here, k), False, False) for k in range(len(start))]
        yield params["jaxpr"], _known(params["jaxpr"], [*fixed, *carries, *rows])
    elif name == "cond":
        for branch in params["branches"]:
            yield branch, _known(branch, given[1:])
    elif called is not None:
        yield called, _known(called, given)


def _known(jaxpr: Any, given: Sequence[_Origin | None]) -> dict[Var, _Origin]:
    """Returns where the arguments of an inner jaxpr come from, whose readers are counted anew."""
    pairs = zip(opened(jaxpr).invars, given, strict=True)
    return {
        variable: origin._replace(alone=False)
        for variable, origin in pairs
        if origin is not None and jnp.issubdtype(variable.aval.dtype, jnp.inexact)
    }


def _origin(atom: Any, origins: dict[Var, _Origin]) -> _Origin | None:
    return None if isinstance(atom, Literal) else origins.get(atom)


def _where(equation: Any) -> str:
    without_comment = line_of_code(equation).partition("  #")[0].replace("`", "'")
    code, where = shorten(without_comment, LONGEST, placeholder=" ..."), place(equation)
    return f"in `{code}` ({where})" if code else f"({where})" if where else ""
