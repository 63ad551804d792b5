"""A rule as a value: the trio of one layer with its static arguments filled in."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """`f(*arrays)`, `fwd(*arrays) -> (value, residuals)` and `bwd(residuals, d_value) -> cotangents`."""

    f: Callable[..., Any]
    fwd: Callable[..., Any]
    bwd: Callable[..., Any]


def bind(f: Callable[..., Any], fwd: Callable[..., Any], bwd: Callable[..., Any], **static: Any) -> Rule:
    """Returns the trio with its static arguments fixed; those not given keep the defaults of `fwd`.

    Raises: ValueError for a static argument that the rule does not have.

    >>> import jax.numpy as jnp
    >>> from jbackprop.layers.relu import relu, relu_bwd, relu_fwd
    >>> rule = bind(relu, relu_fwd, relu_bwd, at_zero=1.0)
    >>> a, residuals = rule.fwd(jnp.array([-1.0, 0.0, 2.0]))
    >>> rule.bwd(residuals, jnp.ones(3))[0].tolist()
    [0.0, 1.0, 1.0]
    """
    *names, _residuals, _d_value = signature(bwd).parameters
    unknown = sorted(set(static) - set(names))
    if unknown:
        raise ValueError(f"bind: the rule has no static argument {unknown[0]!r}: it has {names}")
    defaults = {name: signature(fwd).parameters[name].default for name in names}
    chosen = defaults | static
    return Rule(partial(f, **chosen), partial(fwd, **chosen), partial(bwd, *(chosen[name] for name in names)))
