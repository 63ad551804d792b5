"""The VJP of a call as one compiled function of the differentiated leaves and the cotangent."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from jbackprop.verify.arguments import Call, put_together


class Pulled(NamedTuple):
    """What one evaluation gives: the float outputs, the other outputs, and one cotangent per differentiated leaf."""

    values: tuple[Any, ...]
    others: tuple[Any, ...]
    cotangents: tuple[Any, ...]


class Traced(NamedTuple):
    """A pullback as a jaxpr of the differentiated leaves and the cotangents, with the tree of its result."""

    jaxpr: Any
    tree: Any


class Evaluation(NamedTuple):
    """A pullback evaluated at one point with several cotangents, and the jaxpr that its error bounds are read from."""

    pulled: dict[str, Pulled]
    jaxpr: Any


Run = Callable[[Sequence[Any], Sequence[Any]], list[Pulled]]
RunOne = Callable[[Sequence[Any], Sequence[Any]], Pulled]


def pullback(f: Callable[..., Any], call: Call, wrap: Callable[..., Any] = lambda function: function) -> RunOne:
    """Returns `(leaves, cotangents of the float outputs) -> Pulled`, by `jax.vjp` with whatever rules are in `f`.

    `wrap` transforms the function of the leaves first, as `jax.checkpoint` does.
    """

    def run(values: Sequence[Any], d_out: Sequence[Any]) -> Pulled:
        outputs, vjp, others = jax.vjp(wrap(lambda *leaves: split_outputs(f, call, leaves)), *values, has_aux=True)
        return Pulled(outputs, others, tuple(_as_array(ct) for ct in vjp(tuple(d_out))))

    return run


def _as_array(cotangent: Any) -> Any:
    """JAX lets a Python number through that `bwd` returns, where nothing is compiled."""
    return cotangent if hasattr(cotangent, "dtype") else jnp.asarray(cotangent)


def trace(f: Callable[..., Any], call: Call, values: Sequence[Any], d_out: Sequence[Any]) -> Traced:
    """Returns the pullback of `f` for leaves and cotangents like the given ones; what its rules raise is raised."""
    jaxpr, shapes = jax.make_jaxpr(pullback(f, call), return_shape=True)(tuple(values), tuple(d_out))
    return Traced(jaxpr, jax.tree.structure(shapes))


def compiled(traced: Sequence[Traced], values: Sequence[Any], d_out: Sequence[Any]) -> Run:
    """Returns the pullbacks as one compiled function of leaves and cotangents like the given ones."""

    def together(*leaves: Any) -> list[Pulled]:
        return [jax.tree.unflatten(one.tree, jaxpr_as_fun(one.jaxpr)(*leaves)) for one in traced]

    run = jax.jit(together).lower(*values, *d_out).compile()
    return lambda values, d_out: run(*values, *d_out)


def evaluate(
    traced: Sequence[Traced],
    values: Sequence[Any],
    named: Mapping[str, Sequence[np.ndarray]],
    run: Run,
    run_first: RunOne,
    of_first: Collection[str] = (),
) -> list[Evaluation]:
    """Returns what each of the pullbacks compiled into `run` gives at `values` with each of the named cotangents.

    Those `of_first` are for the first pullback alone, which is compiled into `run_first`.
    """
    results = {
        name: [run_first(values, d_out)] if name in of_first else run(values, d_out) for name, d_out in named.items()
    }
    return [
        Evaluation({name: result[i] for name, result in results.items() if i < len(result)}, one.jaxpr)
        for i, one in enumerate(traced)
    ]


def split_outputs(f: Callable[..., Any], call: Call, values: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Returns the outputs of the call as float leaves, which have cotangents, and the others, which have none."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(put_together(f, call, values))]
    floats = tuple(leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact))
    return floats, tuple(leaf for leaf in leaves if not jnp.issubdtype(leaf.dtype, jnp.inexact))
