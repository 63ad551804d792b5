"""Which `custom_vjp` rules a function calls, whichever of JAX's two kinds they are."""

from typing import Any

import jax

RULES = ("custom_vjp", "call_hi_primitive")  # the second is a rule under JAX_CUSTOM_VJP3=1


def custom_rules(function, *args) -> set[str]:
    """Returns the primitives of such rules in the trace of `function`, in the calls inside too."""
    return {name for name in _primitives(jax.make_jaxpr(function)(*args).jaxpr) if name.startswith(RULES)}


def _primitives(jaxpr: Any) -> set[str]:
    found = set()
    for eqn in jaxpr.eqns:
        found.add(eqn.primitive.name)
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found |= _primitives(inner)
    return found
