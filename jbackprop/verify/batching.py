"""Whose batching rules a computation uses: JAX's own need no check on arrays of which running is what costs."""

from typing import Any

from jax.extend.core import Primitive, jaxprs_in_params, primitives

JAX_OWN = frozenset(one for one in vars(primitives).values() if isinstance(one, Primitive))


def batched_by_jax(jaxpr: Any) -> bool:
    """Whether all operations of a jaxpr, at any depth, are JAX's own: no `custom_vmap`, no callback, no new one."""
    return all(
        equation.primitive in JAX_OWN and all(map(batched_by_jax, jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )
