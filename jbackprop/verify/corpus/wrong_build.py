"""How a row of the wrong rules is written: a primal, its backward, and arguments drawn at random."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jbackprop.verify.corpus.case import Probe

EXACT = ("float32", "float64")  # linear algebra knows no bfloat16, and 8 bits hide a small mistake


def rule(primal: Callable[..., Any], backward: Callable[..., Any]) -> Any:
    """Returns `primal` with the derivative `backward(dy, *args)`, a tuple of one cotangent per argument."""
    return custom(primal, lambda *args: (primal(*args), args), lambda args, dy: backward(dy, *args))


def custom(
    primal: Callable[..., Any],
    fwd: Callable[..., Any],
    bwd: Callable[..., Any],
    static: tuple[int, ...] = (),
    symbolic_zeros: bool = False,
) -> Any:
    """Returns `primal` with the rule `(fwd, bwd)` as JAX takes it."""
    function = jax.custom_vjp(primal, nondiff_argnums=static)
    function.defvjp(fwd, bwd, symbolic_zeros=symbolic_zeros)
    return function


def normal(function: Callable[..., Any], *shapes: tuple[int, ...], also: tuple[Any, ...] = ()) -> Callable[..., Probe]:
    """Returns the probe that calls `function` with a standard normal array for each shape, and with `also`."""

    def probe(rng: np.random.Generator, dtype: DTypeLike) -> Probe:
        return Probe(function, (*draw(rng, dtype, *shapes), *also))

    return probe


def draw(rng: np.random.Generator, dtype: DTypeLike, *shapes: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Returns a standard normal array for each shape."""
    return tuple(jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes)


def tied(function: Callable[..., Any], levels: int, *shapes: tuple[int, ...]) -> Callable[..., Probe]:
    """Returns the probe that draws whole numbers around zero, so few of them that neighbours are often equal."""

    def probe(rng: np.random.Generator, dtype: DTypeLike) -> Probe:
        drawn = (rng.integers(0, levels, shape) - levels // 2 for shape in shapes)
        return Probe(function, tuple(jnp.asarray(values, dtype) for values in drawn))

    return probe


def with_labels(
    function: Callable[..., Any], *shapes: tuple[int, ...], classes: int | None = None, also: tuple[Any, ...] = ()
) -> Callable[..., Probe]:
    """Returns the probe of a normal array, class indices, one for each of its rows, and the other arrays."""

    def probe(rng: np.random.Generator, dtype: DTypeLike) -> Probe:
        arrays = draw(rng, dtype, *shapes)
        labels = jnp.asarray(rng.integers(0, classes or shapes[0][-1], shapes[0][0]), jnp.int32)
        return Probe(function, (arrays[0], labels, *arrays[1:], *also))

    return probe
