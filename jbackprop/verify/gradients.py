"""The three gradients of a network side by side: explicit, by rules, automatic."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from jbackprop.verify.automatic import automatic
from jbackprop.verify.bounds import epsilon
from jbackprop.verify.compiling import BARELY_OPTIMISED
from jbackprop.verify.distance import as_double, finite_gap, gap, largest, relative
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import ACCURACY
from jbackprop.verify.report import figure, table

FLOAT32_BOUND, FLOAT64_BOUND = 1e-6, 1e-14  # of max|g|, for every parameter of every network of the project
_FLOAT64_IN_FLOAT32 = epsilon(np.dtype(np.float64)) / epsilon(np.dtype(np.float32))
ERRORS = ("explicit_error", "rules_error", "explicit_error_float64", "rules_error_float64")


@dataclass(frozen=True)
class GradientErrors:
    """max|d| / max|g| against the automatic gradient g, in the given dtype and in float64."""

    explicit_error: float
    rules_error: float
    explicit_error_float64: float
    rules_error_float64: float


@dataclass(frozen=True)
class GradientRow:
    """The errors of one leaf of the parameters, and that of its automatic gradient against the float64 one."""

    explicit_error: float
    rules_error: float
    explicit_error_float64: float
    rules_error_float64: float
    path: str
    shape: tuple[int, ...]
    dtype: str
    automatic_error: float

    def within(self, float32_bound: float, float64_bound: float) -> bool:
        """Whether the errors are at most that large."""
        given = max(self.explicit_error, self.rules_error)
        wide = max(self.explicit_error_float64, self.rules_error_float64)
        return given <= float32_bound and wide <= float64_bound

    @property
    def agree(self) -> bool:
        """Whether all errors are within `FLOAT32_BOUND` and `FLOAT64_BOUND`, or within `ACCURACY` times what rounding
        does to the automatic gradient: p - y cancels in a network that has learnt its batch by heart.
        """
        rounding = ACCURACY * self.automatic_error
        return self.within(max(FLOAT32_BOUND, rounding), max(FLOAT64_BOUND, rounding * _FLOAT64_IN_FLOAT32))


@dataclass(frozen=True)
class GradientComparison:
    """One row per parameter leaf; printing it gives the table."""

    rows: tuple[GradientRow, ...]

    @property
    def worst(self) -> GradientErrors:
        """The largest error in each column."""
        return GradientErrors(*(max((getattr(row, name) for row in self.rows), default=0.0) for name in ERRORS))

    @property
    def agree(self) -> bool:
        """Whether the three gradients of every leaf agree."""
        return all(row.agree for row in self.rows)

    @property
    def verdict(self) -> str:
        """One line: whether the three agree, and the bounds."""
        found = "agree" if self.agree else "WRONG"
        by_rounding = self.agree and not all(row.within(FLOAT32_BOUND, FLOAT64_BOUND) for row in self.rows)
        wider = f", or {ACCURACY} x the rounding error of an automatic gradient that cancels to almost nothing"
        return (
            f"{found}: bounds {FLOAT32_BOUND:g} in float32, {FLOAT64_BOUND:g} in float64{wider if by_rounding else ''}"
        )

    def __str__(self) -> str:
        header = ("parameter", "shape", "dtype", "explicit", "rules", "explicit, float64", "rules, float64")
        rows = [(row.path, str(row.shape), row.dtype, *_figures(row)) for row in self.rows]
        return "\n".join(table([header, *rows, ("worst", "", "", *_figures(self.worst))]))


def compare_gradients(
    loss: Callable[..., jax.Array],
    loss_and_grads: Callable[..., tuple[jax.Array, Any]],
    params: Any,
    *batch: Any,
) -> GradientComparison:
    r"""Compares the explicit gradient and the gradient by rules with the automatic one, leaf by leaf.

    $$\text{error} = \frac{\max |g - g_\text{automatic}|}{\max |g_\text{automatic}|}$$

    *Explicit* is `loss_and_grads(params, *batch)[1]`, *by rules* `jax.grad(loss)`, *automatic*
    `jax.grad(automatic(loss))`: each compiled, in the given dtypes and again in float64, which is on only inside.
    `params` is any pytree of float arrays; float arrays of the batch are cast to float64 as well, labels are not.

    Raises ValueError where the explicit gradients have another tree, shape or dtype than the parameters.

    >>> import jax
    >>> loss = lambda params, x: (params["w"] * x).sum()
    >>> comparison = compare_gradients(loss, lambda params, x: (loss(params, x), {"w": x}), {"w": jax.numpy.ones(3)},
    ...                                jax.numpy.arange(3.0))
    >>> comparison.worst.explicit_error, comparison.rows[0].path
    (0.0, 'w')
    """
    given, automatic_given = _errors(loss, loss_and_grads, params, batch)
    with float64_scope():
        wide, automatic_wide = _errors(loss, loss_and_grads, to_float64(params), to_float64(batch))
    rounding = [
        relative(finite_gap(one, exact), largest(exact))
        for one, exact in zip(automatic_given, automatic_wide, strict=True)
    ]
    leaves = jax.tree_util.tree_leaves_with_path(params)
    rows = [
        GradientRow(*errors, *errors64, _path(path), tuple(leaf.shape), str(leaf.dtype), automatic_error)
        for (path, leaf), errors, errors64, automatic_error in zip(leaves, given, wide, rounding, strict=True)
    ]
    return GradientComparison(tuple(rows))


def _errors(
    loss: Callable[..., jax.Array],
    loss_and_grads: Callable[..., tuple[jax.Array, Any]],
    params: Any,
    batch: tuple[Any, ...],
) -> tuple[list[tuple[float, float]], list[np.ndarray]]:
    """Returns the errors of the explicit gradient and of the one by rules for each leaf, and the automatic gradient."""
    # three programs: in one, XLA would compute what is written alike only once
    compiled = partial(jax.jit, compiler_options=BARELY_OPTIMISED)
    explicit = compiled(lambda *args: loss_and_grads(*args)[1])(params, *batch)
    rules = compiled(jax.grad(loss))(params, *batch)
    oracle = compiled(jax.grad(automatic(loss)))(params, *batch)
    _require_same_type(params, explicit)
    errors = []
    for leaves in zip(*map(jax.tree.leaves, (explicit, rules, oracle)), strict=True):
        *found, wanted = map(as_double, leaves)
        errors.append(tuple(relative(gap(one, wanted), largest(wanted)) for one in found))
    return errors, [as_double(leaf) for leaf in jax.tree.leaves(oracle)]


def _require_same_type(params: Any, grads: Any) -> None:
    if jax.tree.structure(params) != jax.tree.structure(grads):
        raise ValueError(
            f"compare_gradients: the explicit gradients have the tree {jax.tree.structure(grads)}, "
            f"the parameters {jax.tree.structure(params)}"
        )
    pairs = zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(grads), strict=True)
    for (path, param), grad in pairs:
        types = [f"{jax.dtypes.canonicalize_dtype(x.dtype)}{list(x.shape)}" for x in (grad, param)]
        if types[0] != types[1]:
            raise ValueError(f"compare_gradients: the explicit gradient of {_path(path)} is {types[0]}, not {types[1]}")


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _figures(errors: GradientErrors | GradientRow) -> tuple[str, ...]:
    return tuple(figure(getattr(errors, name)) for name in ERRORS)
