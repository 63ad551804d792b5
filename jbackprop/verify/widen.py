"""A traced program carried out in float64 throughout, also where it names a narrower float.

A rule that says `.astype(jnp.float32)` stays float32 when it is called with float64, and rounding would hide what is
wrong in its formula. So the program is run again equation by equation with float64 in the place of the floats it names.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun, jaxprs_in_params

from jbackprop.verify.bounds import coarsest_epsilon, epsilon
from jbackprop.verify.inline import without_rules

AS_BEFORE = (
    "bitcast_convert_type",
    "nextafter",
    "reduce_precision",
    "ffi_call",
    "random_",
    "rng_",
)  # meant for a dtype
Place = tuple[int, ...]  # of an equation: its number, after those of the equations that it is inside of
Gate = Callable[[Place, Any, list[Any]], list[Any]]  # changes the operands of the equation at a place
Inside = Callable[[Any, list[Any]], list[Any]]  # a jaxpr and its arguments
WITH_JAXPRS = frozenset({"reduce", "reduce_window", "shard_map"})  # which do more than call them


class AsTraced(NamedTuple):
    """How functions are traced that are carried out in float64 afterwards."""

    leaves: tuple[jax.ShapeDtypeStruct, ...]
    d_out: tuple[jax.ShapeDtypeStruct, ...]  # the cotangents of the float outputs
    x64: bool
    floor: float  # the coarsest epsilon of floats that become float64
    constants: float = 0.0  # the coarsest epsilon of rounded constants inside


def carried_in_float64(g: Callable[..., Any], arguments: Sequence[Any], traced: AsTraced) -> Callable[..., Any]:
    """Returns `g`, traced with arguments of such types, as a function of them in float64."""
    with jax.enable_x64(traced.x64):
        jaxpr, shapes = jax.make_jaxpr(g, return_shape=True)(*arguments)
    run, tree = jaxpr_as_fun(widened(jaxpr, traced.floor)), jax.tree.structure(shapes)
    return lambda *arguments: jax.tree.unflatten(tree, run(*jax.tree.leaves(arguments)))


def widened(jaxpr: Any, floor: float) -> Any:
    """Returns a closed `jaxpr` in float64, arguments and results too, with the same meaning in exact arithmetic.

    Floats with an epsilon above `floor` stay, as do equations that depend on the bits of a float or leave JAX, and
    constants keep their values. A jaxpr that cannot be taken apart so is returned as it is.
    """
    if not is_narrow(jaxpr):
        return jaxpr
    plain = without_rules(jaxpr, custom_jvp=True)
    arguments = [jax.ShapeDtypeStruct(aval.shape, _wide(aval.dtype, floor)) for aval in plain.in_avals]
    try:
        return jax.make_jaxpr(lambda *given: carried_out(plain, given, floor))(*arguments)
    except Exception:  # such as a loop over mutable arrays
        return jaxpr


def is_narrow(jaxpr: Any) -> bool:
    """Whether a jaxpr computes in a narrower float than float64."""
    return coarsest_epsilon(jaxpr) > epsilon(np.float64)


def carried_out(
    jaxpr: Any, arguments: Sequence[Any], floor: float, gate: Gate | None = None, place: Place = ()
) -> list[Any]:
    """Returns the results of a jaxpr without rules, equation by equation, each with its operands through the `gate`."""
    opened = getattr(jaxpr, "jaxpr", jaxpr)
    consts = getattr(jaxpr, "consts", ())  # before JAX 0.11 an open jaxpr has none
    values = dict(zip(opened.constvars, [_widen(const, floor) for const in consts], strict=True))
    values |= dict(zip(opened.invars, arguments, strict=True))

    def read(atom: Any) -> Any:
        return _literal(atom, floor) if isinstance(atom, Literal) else values[atom]

    for number, equation in enumerate(opened.eqns):
        here, operands = (*place, number), [read(atom) for atom in equation.invars]
        found = _inside(equation, operands, lambda one, given, here=here: carried_out(one, given, floor, gate, here))
        if found is None:
            found = _by_itself(equation, operands if gate is None else gate(here, equation, operands), floor)
        values |= dict(zip(equation.outvars, found, strict=True))
    return [read(atom) for atom in opened.outvars]


def _inside(equation: Any, operands: list[Any], run: Inside) -> Sequence[Any] | None:
    """Returns the results of an equation that runs jaxprs, each by `run`; None where it does something else."""
    name, params = equation.primitive.name, equation.params
    if name == "scan":
        return _scan(params, operands, run)
    if name == "while":
        return None if _of_batch(params) else _while(params, operands, run)
    if name == "cond":
        branches = [lambda *given, branch=branch: run(branch, list(given)) for branch in params["branches"]]
        return jax.lax.switch(operands[0], branches, *operands[1:])
    if name == "custom_linear_solve":
        return _linear_solve(params, operands, run)
    called = called_by(equation)
    return None if called is None else run(called, operands)


def _by_itself(equation: Any, operands: list[Any], floor: float) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    inside = any(True for _ in jaxprs_in_params(params)) and not name.startswith("scatter")
    if inside or name.startswith(AS_BEFORE) or "callback" in name:
        return _narrow(equation, operands, floor)
    try:
        found = _bound(equation, operands, {key: _param(value, floor) for key, value in params.items()})
    except Exception:  # such as a product that has no float64
        return _narrow(equation, operands, floor)
    expected = [_wide(variable.aval.dtype, floor) for variable in equation.outvars]
    return found if [value.dtype for value in found] == expected else _narrow(equation, operands, floor)


def called_by(equation: Any) -> Any:
    """Returns the jaxpr that an equation does nothing but call, as of `jit` and `checkpoint`, or None."""
    nested = list(jaxprs_in_params(equation.params))
    if len(nested) != 1 or equation.primitive.name in WITH_JAXPRS:
        return None
    ours, theirs = ([*one.invars, *one.outvars] for one in (nested[0], equation))
    types = [[(atom.aval.shape, atom.aval.dtype) for atom in atoms] for atoms in (ours, theirs)]
    closed = (value for value in equation.params.values() if getattr(value, "jaxpr", value) is nested[0])
    return next(closed) if types[0] == types[1] else None


def _param(value: Any, floor: float) -> Any:
    if isinstance(value, np.dtype):
        return _wide(value, floor)
    if isinstance(value, Jaxpr):  # what a scatter does with two numbers
        inside = widened(ClosedJaxpr(value, ()), floor)
        return getattr(inside, "jaxpr", inside)
    return value


def _narrow(equation: Any, operands: list[Any], floor: float) -> list[Any]:
    """The equation as it stands, between casts."""
    given = [_cast(x, atom.aval.dtype) for x, atom in zip(operands, equation.invars, strict=True)]
    return [_widen(value, floor) for value in _bound(equation, given, equation.params)]


def _bound(equation: Any, operands: list[Any], params: dict[str, Any]) -> Sequence[Any]:
    found = equation.primitive.bind(*operands, **equation.primitive.get_bind_params(params))
    return found if equation.primitive.multiple_results else [found]


def _scan(params: dict[str, Any], operands: list[Any], run: Inside) -> Sequence[Any]:
    fixed, start, rows = operands_of_scan(params, operands)

    def body(carry: list[Any], row: list[Any]) -> tuple[list[Any], list[Any]]:
        found = run(params["jaxpr"], [*fixed, *carry, *row])
        return found[: len(start)], found[len(start) :]

    options = {name: params[name] for name in ("length", "reverse", "unroll")}
    last, stacked = jax.lax.scan(body, start, rows, **options)
    return [*last, *stacked]


def operands_of_scan(params: dict[str, Any], operands: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Returns what is the same in each turn, what the first turn is given, and what is taken row by row."""
    if "ft_in" in params:  # from JAX 0.11 on
        fixed, start, rows = map(list, params["ft_in"].update(operands).unpack())
        return fixed, start, rows
    consts, carries = params["num_consts"], params["num_carry"]
    return operands[:consts], operands[consts:][:carries], operands[consts + carries :]


def _of_batch(params: dict[str, Any]) -> bool:
    """Whether each row of a batch stops by itself, which `jax.lax.while_loop` cannot say."""
    cond = params["cond_jaxpr"]
    return getattr(cond, "jaxpr", cond).outvars[0].aval.shape != ()


def _while(params: dict[str, Any], operands: list[Any], run: Inside) -> Sequence[Any]:
    of_cond, of_body = params["cond_nconsts"], params["body_nconsts"]
    for_cond, for_body, start = operands[:of_cond], operands[of_cond:][:of_body], operands[of_cond + of_body :]
    return jax.lax.while_loop(
        lambda carry: run(params["cond_jaxpr"], [*for_cond, *carry])[0],
        lambda carry: run(params["body_jaxpr"], [*for_body, *carry]),
        start,
    )


def _linear_solve(params: dict[str, Any], operands: list[Any], run: Inside) -> list[Any]:
    sizes = params["const_lengths"]
    before, consts = sizes.matvec + sizes.vecmat, sum(sizes)
    return run(params["jaxprs"].solve, [*operands[before:][: sizes.solve], *operands[consts:]])


def _wide(dtype: Any, floor: float) -> Any:
    if not jnp.issubdtype(dtype, jnp.inexact) or epsilon(dtype) > floor:
        return dtype
    return np.dtype(np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64)


def _widen(value: Any, floor: float) -> Any:
    return _cast(value, _wide(value.dtype, floor)) if hasattr(value, "dtype") else value


def _cast(value: Any, dtype: Any) -> Any:
    return value if getattr(value, "dtype", dtype) == dtype else jax.lax.convert_element_type(value, dtype)


def _literal(literal: Any, floor: float) -> Any:
    dtype = literal.aval.dtype
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        return literal.val
    return np.asarray(literal.val, dtype).astype(_wide(dtype, floor))


def constant_epsilon(jaxpr: Any, floor: float) -> float:
    """Returns the epsilon of the coarsest rounded constant in a jaxpr, 0 where there is none.

    Rule and oracle may have the rounding of different numbers, such as a product of what the other multiplies.
    """
    return max((_rounded_to(value, floor) for value in _constants(jaxpr)), default=0.0)


def _constants(jaxpr: Any) -> Iterator[np.ndarray]:
    consts = [const for const in getattr(jaxpr, "consts", ()) if hasattr(const, "dtype")]
    yield from (np.asarray(const) for const in consts if jnp.issubdtype(const.dtype, jnp.inexact))
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        literals: list[Any] = [atom for atom in equation.invars if isinstance(atom, Literal)]
        for literal in literals:
            if jnp.issubdtype(literal.aval.dtype, jnp.inexact):
                yield np.asarray(literal.val, literal.aval.dtype)
        for nested in jaxprs_in_params(equation.params):
            yield from _constants(nested)


def _rounded_to(value: np.ndarray, floor: float) -> float:
    """Returns the epsilon of the narrow dtype that an array has, or had before it was cast to float64; 0 if exact."""
    dtype: Any = value.dtype
    parts = np.stack([np.real(value), np.imag(value)]) if np.iscomplexobj(value) else value
    if jnp.finfo(dtype).bits == 64:
        dtype = np.dtype(np.float32)
        with np.errstate(over="ignore"):
            if not np.array_equal(parts.astype(dtype).astype(np.float64), parts):
                return 0.0
    return 0.0 if epsilon(dtype) > floor or _exact(parts.astype(np.float64), dtype) else epsilon(dtype)


def _exact(parts: np.ndarray, dtype: Any) -> bool:
    """Whether all are numbers that are written so: of few binary digits, integers, limits of the dtype."""
    info = jnp.finfo(dtype)
    few = np.ldexp(np.frexp(parts)[0], info.nmant // 2)
    integer = (parts == np.rint(parts)) & (np.abs(parts) <= 2.0 ** (info.nmant + 1))
    limit = ~np.isfinite(parts) | (np.abs(parts) >= float(info.max)) | (np.abs(parts) <= float(info.tiny))
    return bool(np.all((few == np.rint(few)) | integer | limit))
