"""The rule under `vmap`, `scan` and `checkpoint`, and on several devices: always the same numbers as by itself."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jbackprop.verify.arguments import Call, large
from jbackprop.verify.batching import batched_by_jax
from jbackprop.verify.clause_names import CHECKPOINT, DEVICES, PURE, SCAN, VMAP
from jbackprop.verify.compiling import BARELY_OPTIMISED
from jbackprop.verify.contract import same
from jbackprop.verify.cotangents import another
from jbackprop.verify.measure import Comparison
from jbackprop.verify.misuse import in_words
from jbackprop.verify.pullback import Pulled, RunOne, pullback
from jbackprop.verify.report import Check
from jbackprop.verify.structure import in_one_line


class _Way(NamedTuple):
    """A transformed pullback of a function, its arguments, and the points that its result holds along which axis."""

    clause: str
    words: str  # what is added to the clause's name where it fails
    of: Callable[[Callable[..., Any]], Callable[..., Pulled]]
    arguments: tuple[Any, Any]
    points: tuple[tuple[Any, Any], ...]  # none where it is traced alone
    axis: int | None  # None: a single result, not stacked


NAMES = {"vmap": VMAP, "scan": SCAN, "checkpoint": CHECKPOINT}


def transformation_checks(
    f: Callable[..., Any], oracle: Callable[..., Any], call: Call, comparison: Comparison, skip: frozenset[str]
) -> list[Check]:
    """Returns a check for each transformation that the oracle can go through; all are compiled together."""
    ways = [way for way in _ways(call, comparison) if way.clause not in skip]
    failed: dict[str, Check] = {}
    traced = []
    for way in ways:
        try:
            jax.eval_shape(way.of(f), *way.arguments)
        except Exception as error:
            if _traceable(way, oracle):
                failed[way.clause] = Check(NAMES[way.clause], False, in_one_line(error))
        else:
            traced += [way] if way.points else []
    passed: dict[str, Check] = {}
    results, state = _results(f, traced, None if large(call) else BARELY_OPTIMISED)
    for way, result in results:
        if isinstance(result, Exception):
            if _runs(way, oracle):
                failed.setdefault(way.clause, Check(NAMES[way.clause], False, in_one_line(result)))
            continue
        check = _compared(way, result, call, comparison)
        if not check.ok and way.clause == "vmap":  # XLA's CPU backend miscompiles some sums of batches
            by_operation = _compared(way, way.of(f)(*way.arguments), call, comparison)
            words = f"{check.detail} as compiled, not so operation by operation: the compiler's mistake"
            check = Check(check.name, True, words) if by_operation.ok else check
        (passed if check.ok else failed).setdefault(way.clause, check)
    found = [failed.get(clause) or passed[clause] for clause in NAMES if clause in failed or clause in passed]
    return [*found, Check(PURE, False, state)] if state else found


def _results(
    f: Callable[..., Any], ways: Sequence[_Way], options: Any
) -> tuple[list[tuple[_Way, Pulled | Exception]], str]:
    """Runs the ways in one program; where that fails (the backend lacks some products in bfloat16), one by one.

    Also returns what JAX says of calls that can be traced one by one, but not together in one program.
    """

    def run(arguments: list[Any]) -> list[Pulled]:
        return [way.of(f)(*given) for way, given in zip(ways, arguments, strict=True)]

    if not ways:
        return [], ""
    try:
        results = jax.jit(run, compiler_options=options)([way.arguments for way in ways])
        return list(zip(ways, jax.block_until_ready(results), strict=True)), ""
    except jax.errors.JaxRuntimeError as error:
        if len(ways) == 1:
            lacking = str(error).startswith("UNIMPLEMENTED")  # the backend's limit, whoever asks
            return [] if lacking else [(ways[0], error)], ""
        return [pair for way in ways for pair in _results(f, [way], options)[0]], ""
    except Exception as error:
        return [], f"several calls in one program: {in_words(error, None)}"


def sharding_check(f: Callable[..., Any], call: Call, comparison: Comparison) -> Check | None:
    """Compares the pullback of leaves split over all devices with one device's; None where there is one device."""
    devices = jax.devices()
    if len(devices) == 1:
        return None
    name = f"{DEVICES} {len(devices)} devices"
    mesh = Mesh(np.asarray(devices), ("devices",))

    def split(leaf: Any) -> Any:
        divisible = np.ndim(leaf) and np.shape(leaf)[0] % len(devices) == 0 and np.size(leaf)
        spec = PartitionSpec("devices") if divisible else PartitionSpec()
        return jax.device_put(jnp.asarray(leaf), NamedSharding(mesh, spec))

    arguments = jax.tree.map(split, (call.values, comparison.cotangents["random"]))
    try:
        found = jax.jit(pullback(f, call))(*arguments)
    except Exception as error:
        return Check(name, False, in_one_line(error))
    return same(name, call, comparison, jax.tree.map(np.asarray, found), comparison.rule.pulled["random"])


def _ways(call: Call, comparison: Comparison) -> list[_Way]:
    values, one = call.values, comparison.cotangents["random"]
    if large(call) and batched_by_jax(comparison.rule.jaxpr):
        return [_Way("vmap", "", lambda g: jax.vmap(pullback(g, call)), (_two(values), _two(one)), (), 0)]
    other = another(comparison.cotangents)
    flipped = tuple(map(_flipped, values))  # the same numbers in another place, so inside the domain of f
    stacked = (_stacked(values, flipped), _stacked(one, other))
    points = ((values, one), (flipped, other))
    ways = [_Way("vmap", "", lambda g: jax.vmap(pullback(g, call)), stacked, points, 0)]
    if large(call):
        return ways
    first = (_stacked(values[:1], flipped[:1]) + tuple(values[1:]), tuple(one))
    axes = ((0, *(None for _ in values[1:])), None)
    last = (_stacked(values, flipped, -1), _stacked(one, other, -1))
    of_first, of_cotangent = ((values, one), ((flipped[0], *values[1:]), one)), ((values, one), (values, other))
    return [
        *ways,
        _Way("vmap", "over one argument", lambda g: jax.vmap(pullback(g, call), axes), first, of_first, 0),
        _Way(
            "vmap",
            "over the cotangent",
            lambda g: jax.vmap(pullback(g, call), (None, 0)),
            (tuple(values), stacked[1]),
            of_cotangent,
            0,
        ),
        _Way("vmap", "over the last axis", lambda g: jax.vmap(pullback(g, call), -1), last, points, 0),
        _Way("scan", "", lambda g: _scanned(pullback(g, call)), stacked, points, 0),
        _Way(
            "checkpoint",
            "",
            lambda g: pullback(g, call, wrap=jax.checkpoint),
            (tuple(values), tuple(one)),
            ((values, one),),
            None,
        ),
    ]


def _scanned(run: RunOne) -> Callable[..., Pulled]:
    return lambda values, d_out: jax.lax.scan(lambda carry, xs: (carry, run(*xs)), None, (values, d_out))[1]


def _traceable(way: _Way, oracle: Callable[..., Any]) -> bool:
    """Whether the oracle goes through the same transformation: else the rule is not to blame."""
    try:
        jax.eval_shape(way.of(oracle), *way.arguments)
    except Exception:
        return False
    return True


def _runs(way: _Way, oracle: Callable[..., Any]) -> bool:
    """Whether the backend runs the oracle this way: else the rule is not to blame."""
    try:
        jax.block_until_ready(jax.jit(way.of(oracle), compiler_options=BARELY_OPTIMISED)(*way.arguments))
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _compared(way: _Way, result: Pulled, call: Call, comparison: Comparison) -> Check:
    name = NAMES[way.clause]
    for k, (values, d_out) in enumerate(way.points):
        if way.axis is not None and any(np.shape(leaf)[:1] != (len(way.points),) for leaf in jax.tree.leaves(result)):
            return Check(name, False, f"{way.words} another number of examples comes out".strip())
        one = result if way.axis is None else jax.tree.map(lambda leaf, k=k: np.asarray(leaf)[k], result)
        check = same(name, call, comparison, one, _alone(comparison, values, d_out))
        if not check.ok:
            return Check(name, False, ", ".join(filter(None, [way.words, check.detail])))
    return Check(name, True)


def _alone(comparison: Comparison, values: Any, d_out: Any) -> Pulled:
    """The rule by itself at one of the points, which may have been run already."""
    if values is comparison.inputs and d_out is comparison.cotangents["random"]:
        return comparison.rule.pulled["random"]
    return comparison.run_rule(values, d_out)


def _flipped(value: Any) -> Any:
    return value if isinstance(value, float | complex) else np.flip(np.asarray(value))


def _two(ones: Sequence[Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
    return tuple(jax.ShapeDtypeStruct((2, *np.shape(one)), jnp.asarray(one).dtype) for one in ones)


def _stacked(ones: Sequence[Any], others: Sequence[Any], axis: int = 0) -> tuple[np.ndarray, ...]:
    pairs = zip(ones, others, strict=True)
    return tuple(np.stack([np.asarray(x, jnp.asarray(one).dtype) for x in (one, other)], axis) for one, other in pairs)
