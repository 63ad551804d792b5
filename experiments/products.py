"""How many multiply-adds a program's matrix products and convolutions make, counted in its jaxpr."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import jaxprs_in_params

PRODUCTS = ("dot_general", "conv_general_dilated")


def products_of(function: Callable[..., Any], *arguments: Any) -> int:
    """Returns the sum over all products, in the calls inside too; those with the padding of a convolution count.

    The body of a loop counts once, as XLA counts it, and each branch of a condition, of which one is run.

    >>> import jax.numpy as jnp
    >>> products_of(lambda x, w: jax.nn.relu(x @ w), jnp.ones((2, 3)), jnp.ones((3, 5)))
    30
    """
    return sum(multiply_adds(eqn) for eqn, _ in products_in(jax.make_jaxpr(function)(*arguments).jaxpr))


def products_in(jaxpr: Any, turns: int = 1) -> Iterator[tuple[Any, int]]:
    """Yields the equation of each product, in the calls inside too, with how often a scan around it runs it."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in PRODUCTS:
            yield eqn, turns
        length = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        for inner in jaxprs_in_params(eqn.params):
            yield from products_in(inner, turns * length)


def multiply_adds(eqn: Any) -> int:
    """Returns those of one of `PRODUCTS`."""
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return eqn.outvars[0].aval.size * math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
    kernel, numbers = eqn.invars[1].aval, eqn.params["dimension_numbers"]
    return eqn.outvars[0].aval.size * kernel.size // kernel.shape[numbers.rhs_spec[0]]
