"""A function's programs, compiled: forward alone, backward alone, both in one; and what the compiler says of them."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class NotMeasurable(Exception):
    """The function has nothing to differentiate. The message says what is missing."""


class Program(NamedTuple):
    """A compiled program with the arguments it is called with."""

    compiled: Any
    arguments: tuple[Any, ...]
    compile_seconds: float

    def call(self) -> Any:
        return self.compiled(*self.arguments)

    @property
    def temporary_bytes(self) -> int | None:
        """Of scratch memory while it runs, arguments and outputs not counted."""
        found = self.compiled.memory_analysis()
        return None if found is None else int(found.temp_size_in_bytes)

    def cost(self, name: str) -> float | None:
        """`flops` or `bytes accessed`, as XLA counts them in the optimised program."""
        found = self.compiled.cost_analysis()
        found = found[0] if isinstance(found, list) and found else found
        value = dict(found or {}).get(name)
        return None if value is None or value < 0 else float(value)


class Passes(NamedTuple):
    """`forward(arguments)`, `backward(residuals, cotangent)`, and `both(arguments, cotangent)` as one program."""

    forward: Program
    backward: Program
    both: Program
    residual_bytes: int
    least_bytes: int


def program(function: Callable[..., Any], *arguments: Any, **options: Any) -> Program:
    """Returns `jax.jit(function)` compiled for `arguments`, none of which is a constant of the program.

    >>> program(jnp.sin, jnp.zeros(())).call()
    Array(0., dtype=float32)
    """
    start = time.perf_counter()
    compiled = jax.jit(function, **options).lower(*arguments).compile()
    return Program(compiled, arguments, time.perf_counter() - start)


def passes(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Passes:
    """Returns the programs of `f(*args, **kwargs)`, differentiated by every floating array among its arguments.

    `residual_bytes` are those of all arrays that `jax.vjp` keeps between the passes, arguments among them;
    `least_bytes` is the traffic that no program for both passes can avoid: arguments, cotangent, value and gradients,
    each once. Raises: `NotMeasurable` where no argument or no output is a floating array.
    """
    f, active, passive = _of_arrays(f, args, kwargs or {})
    value = jax.eval_shape(f, active, passive)
    if not active or not value:
        raise NotMeasurable(f"no {'output' if active else 'argument'} is a floating array: nothing to differentiate")
    ct = [_cotangent(out, i) for i, out in enumerate(value)]

    def saving(active: list[Any], passive: list[Any]) -> Any:
        return jax.vjp(lambda active: f(active, passive), active)

    def both(active: list[Any], passive: list[Any], ct: list[Any]) -> Any:
        value, pullback = saving(active, passive)
        return value, pullback(ct)[0]

    pullback = program(saving, active, passive).call()[1]
    return Passes(
        forward=program(f, active, passive),
        backward=program(lambda pullback, ct: pullback(ct)[0], pullback, ct),
        both=program(both, active, passive, ct),
        residual_bytes=_bytes(pullback),
        least_bytes=2 * (_bytes(active) + _bytes(ct)) + _bytes(passive),
    )


def _of_arrays(f: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Callable[..., list[Any]], list[Any], list[Any]]:
    """`f` as a function of its floating arrays and its other arrays, whatever else it takes fixed."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    arrays = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]
    active = [i for i in arrays if jnp.issubdtype(leaves[i].dtype, jnp.inexact)]
    passive = [i for i in arrays if i not in active]

    def of_arrays(floats: list[Any], others: list[Any]) -> list[Any]:
        given = dict(zip(active, floats, strict=True)) | dict(zip(passive, others, strict=True))
        args, kwargs = jax.tree.unflatten(tree, [given.get(i, leaf) for i, leaf in enumerate(leaves)])
        return [out for out in map(jnp.asarray, jax.tree.leaves(f(*args, **kwargs))) if _is_float(out)]

    return of_arrays, [leaves[i] for i in active], [leaves[i] for i in passive]


def _is_float(out: jax.Array) -> bool:
    return jnp.issubdtype(out.dtype, jnp.inexact)


def _cotangent(out: Any, i: int) -> jax.Array:
    return jax.random.normal(jax.random.key(i + 1), out.shape, out.dtype)


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
