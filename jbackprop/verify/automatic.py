"""A function without its custom derivative rules, the oracle that every rule is held against."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import jaxpr_as_fun

from jbackprop.verify.inline import without_rules
from jbackprop.verify.rule import find_rule


def automatic(f: Callable[..., Any], custom_jvp: bool = False) -> Callable[..., Any]:
    r"""Returns `f` with every `custom_vjp` inside it removed, so that JAX differentiates the primal code itself.

    $$\text{automatic}(f)(x) = f(x), \qquad \nabla\,\text{automatic}(f) = \text{autodiff of the code of } f$$

    `f` is anybody's function: a `custom_vjp` object, a `jit`, a `functools.partial`, a method. Rules are found at any
    depth (`jit`, `scan`, `while_loop`, `cond`, `checkpoint`, `vmap`, `shard_map`, another rule's primal, ...).
    `custom_jvp=True` removes `custom_jvp` as well, which JAX itself uses (`jax.nn.relu`); by default these stay.
    Batching rules (`custom_vmap`) are removed too: JAX cannot differentiate through them in reverse mode.

    Takes and returns what `f` does: any pytrees, shapes, dtypes and weak types, static arguments and keywords. Only
    values that JAX is tracing (under `grad`, `jit`, `vmap`, ...) are traced here; all others reach `f` untouched,
    except that a NumPy array which is no static argument becomes the JAX array that `jax.jit` makes of it.

    `f` must be traceable, as for `jax.jit`, else the error is JAX's own. A gradient that `f` itself takes inside has
    been taken by rule before anything can be removed: wrap the inner function instead, `jax.grad(automatic(g))`. For
    the same reason two derivatives keep the rules inside them: the one by which `jax.lax.custom_root` linearizes its
    function at the root, and that of a `custom_jvp` whose own rule calls `jax.grad` or `jax.vjp` of a rule.

    >>> import jax
    >>> @jax.custom_vjp
    ... def double(x):
    ...     return 2 * x
    >>> double.defvjp(lambda x: (2 * x, None), lambda residuals, dy: (3 * dy,))  # wrong: 3 for 2
    >>> float(jax.grad(double)(1.0)), float(jax.grad(automatic(double))(1.0))
    (3.0, 2.0)
    """

    @functools.wraps(f, updated=())  # not the attributes: this function has no `fwd` and `bwd`
    def automatic_f(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = jax.tree.flatten(_as_jax(f, args, kwargs))
        tracers = [leaf for leaf in leaves if isinstance(leaf, Tracer)]
        result: dict[str, Any] = {}

        def traced(*values: Any) -> list[Any]:
            values_left = iter(values)
            merged = [next(values_left) if isinstance(leaf, Tracer) else leaf for leaf in leaves]
            args, kwargs = jax.tree.unflatten(tree, merged)
            outputs, result["tree"] = jax.tree.flatten(f(*args, **kwargs))
            result["traced"] = [isinstance(leaf, Tracer) for leaf in outputs]  # a tracer must not outlive this call
            result["concrete"] = [leaf for leaf in outputs if not isinstance(leaf, Tracer)]
            return [leaf for leaf in outputs if isinstance(leaf, Tracer)]

        jaxpr = without_rules(jax.make_jaxpr(traced)(*tracers), custom_jvp)
        values = iter(jaxpr_as_fun(jaxpr)(*tracers))
        concrete = iter(result["concrete"])
        outputs = [next(values if is_traced else concrete) for is_traced in result["traced"]]
        return jax.tree.unflatten(result["tree"], outputs)

    return automatic_f


def _as_jax(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """JAX takes no NumPy array for a constant under `vmap`; what `f` declares static is not JAX's to read."""
    if not any(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves((args, kwargs))):
        return args, kwargs
    rule = find_rule(f, args, kwargs)
    static = {id(leaf) for i in rule.static for leaf in jax.tree.leaves(rule.args[i])} if rule else set()
    return jax.tree.map(lambda leaf: leaf if id(leaf) in static else _leaf_as_jax(leaf), (args, kwargs))


def _leaf_as_jax(leaf: Any) -> Any:
    if not isinstance(leaf, np.ndarray) or not (leaf.dtype == bool or jnp.issubdtype(leaf.dtype, jnp.number)):
        return leaf
    array = jnp.asarray(leaf)
    inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
    return array if inexact or np.array_equal(np.asarray(array), leaf) else leaf  # an int64 too large stays one
