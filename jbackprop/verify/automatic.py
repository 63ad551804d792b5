"""A function without its custom derivative rules, the oracle that every rule is held against."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.core import Tracer
from jax.extend.core import jaxpr_as_fun

from jbackprop.verify.inline import without_rules


def automatic(f: Callable[..., Any], custom_jvp: bool = False) -> Callable[..., Any]:
    r"""Returns `f` with every `custom_vjp` inside it removed, so that JAX differentiates the primal code itself.

    $$\text{automatic}(f)(x) = f(x), \qquad \nabla\,\text{automatic}(f) = \text{autodiff of the code of } f$$

    `f` is anybody's function: a `custom_vjp` object, a `jit`, a `functools.partial`, a method. Rules are found at any
    depth (`jit`, `scan`, `while_loop`, `cond`, `checkpoint`, `vmap`, `shard_map`, another rule's primal, ...).
    `custom_jvp=True` removes `custom_jvp` as well, which JAX itself uses (`jax.nn.relu`); by default these stay.
    Batching rules (`custom_vmap`) are removed too: JAX cannot differentiate through them in reverse mode.

    Takes and returns what `f` does: any pytrees, shapes, dtypes and weak types, static arguments and keywords. Only
    values that JAX is tracing (under `grad`, `jit`, `vmap`, ...) are traced here; all others reach `f` untouched.

    `f` must be traceable, as for `jax.jit`, else the error is JAX's own. A gradient that `f` itself takes inside has
    been taken by rule before anything can be removed: wrap the inner function instead, `jax.grad(automatic(g))`.

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
        leaves, tree = jax.tree.flatten((args, kwargs))
        tracers = [leaf for leaf in leaves if isinstance(leaf, Tracer)]
        result: dict[str, Any] = {}

        def traced(*values: Any) -> list[Any]:
            values_left = iter(values)
            merged = [next(values_left) if isinstance(leaf, Tracer) else leaf for leaf in leaves]
            args, kwargs = jax.tree.unflatten(tree, merged)
            result["leaves"], result["tree"] = jax.tree.flatten(f(*args, **kwargs))
            return [leaf for leaf in result["leaves"] if isinstance(leaf, Tracer)]

        jaxpr = without_rules(jax.make_jaxpr(traced)(*tracers), custom_jvp)
        values = iter(jaxpr_as_fun(jaxpr)(*tracers))
        outputs = [next(values) if isinstance(leaf, Tracer) else leaf for leaf in result["leaves"]]
        return jax.tree.unflatten(result["tree"], outputs)

    return automatic_f
