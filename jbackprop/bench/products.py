"""How many multiply-adds a program's matrix products and convolutions make, counted in its jaxpr."""

import math
from collections.abc import Callable
from typing import Any

import jax


def products_of(function: Callable[..., Any], *arguments: Any) -> int:
    """Returns the sum over all products, in the calls inside too; those with the padding of a convolution count.

    The body of a loop counts once, as XLA counts it.

    >>> import jax.numpy as jnp
    >>> products_of(lambda x, w: jax.nn.relu(x @ w), jnp.ones((2, 3)), jnp.ones((3, 5)))
    30
    """
    return _in(jax.make_jaxpr(function)(*arguments).jaxpr)


def _in(jaxpr: Any) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += eqn.outvars[0].aval.size * math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
        elif eqn.primitive.name == "conv_general_dilated":
            kernel, numbers = eqn.invars[1].aval, eqn.params["dimension_numbers"]
            total += eqn.outvars[0].aval.size * kernel.size // kernel.shape[numbers.rhs_spec[0]]
        inner = [getattr(value, "jaxpr", None) for value in eqn.params.values()]
        total += sum(_in(one) for one in inner if one is not None)
    return total
