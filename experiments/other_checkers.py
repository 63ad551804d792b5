"""Two checkers that people use today, on the same rules: JAX's `check_grads`, and what PyTorch's `gradcheck` does."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from jbackprop.verify.arguments import take_apart
from jbackprop.verify.pullback import split_outputs

EPS, ATOL, RTOL = 1e-6, 1e-5, 1e-3  # the defaults of torch.autograd.gradcheck
LARGEST = 2**26  # elements of a Jacobian, and of the unit vectors it is made with: half a gigabyte


def check_grads_accepts(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether `check_grads` passes, given what a user who knows it would give: the float arrays and outputs alone."""
    try:
        call = take_apart(f, args, kwargs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_grads(lambda *leaves: split_outputs(f, call, leaves)[0], call.values, order=1, modes=["rev"])
    except Exception:
        return False
    return True


def gradcheck_can(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the whole Jacobian of each argument fits into memory."""
    call = take_apart(f, args, kwargs)
    outputs = jax.eval_shape(lambda leaves: split_outputs(f, call, leaves)[0], call.values)
    sizes = [sum(out.size for out in outputs), *(np.size(leaf) for leaf in call.values)]
    return max(sizes) ** 2 <= LARGEST


def gradcheck_accepts(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether every element of the rule's Jacobian is close to central differences, in float64."""
    try:
        call = take_apart(f, args, kwargs)
        for i, leaf in enumerate(call.values):
            by_rule, by_differences = (np.asarray(x) for x in _jacobians(f, call, i, jnp.asarray(leaf)))
            if by_rule.shape != by_differences.shape:
                return False
            if not np.allclose(by_rule, by_differences, rtol=RTOL, atol=ATOL, equal_nan=False):
                return False
    except Exception:
        return False
    return True


def _jacobians(f: Callable[..., Any], call: Any, i: int, leaf: Any) -> tuple[Any, Any]:
    def of_leaf(flat: Any) -> Any:
        values = [*call.values]
        values[i] = flat.reshape(leaf.shape)
        return jnp.concatenate([jnp.ravel(out) for out in split_outputs(f, call, values)[0]])

    flat = jnp.ravel(leaf)
    out, pull = jax.vjp(of_leaf, flat)
    rows = jax.jit(lambda units: jax.lax.map(lambda unit: pull(unit)[0], units))(jnp.eye(out.size, dtype=out.dtype))

    def difference(unit: Any) -> Any:
        return (of_leaf(flat + EPS * unit) - of_leaf(flat - EPS * unit)) / (2 * EPS)

    columns = jax.jit(lambda units: jax.lax.map(difference, units))(jnp.eye(flat.size, dtype=flat.dtype))
    return rows, columns.T
