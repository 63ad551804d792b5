"""Whether a rule is a function: the same call, traced again, must be the same computation with the same numbers."""

import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, jaxprs_in_params

from jbackprop.verify.arguments import Call, large
from jbackprop.verify.clause_names import PURE
from jbackprop.verify.contract import same
from jbackprop.verify.measure import Comparison
from jbackprop.verify.pullback import Traced, compiled
from jbackprop.verify.report import Check
from jbackprop.verify.rule import Rule, traced_alone, zero_cotangent


def purity_check(call: Call, comparison: Comparison, first: Traced, again: Traced, rule: Rule | None) -> Check:
    """Compares two traces of the rule; where they differ, what they compute, and the compiled program with itself.

    JAX remembers what it traced of a rule first, so `fwd` and `bwd` themselves are traced twice as well.
    """
    d_out = comparison.cotangents["random"]
    wanted = comparison.rule.pulled["random"]
    if not large(call):
        found = comparison.run_rule(call.values, d_out)
        if not all(map(_identical, jax.tree.leaves(found.cotangents), jax.tree.leaves(wanted.cotangents))):
            return Check(PURE, False, "one compiled program gave two results: it draws on something outside")
    hint = "the rule depends on a hidden state (a counter, numpy's random numbers, a clock)"
    if rule is not None and rule.plain:
        d_out_of_rule = zero_cotangent(rule)
        if not _alike(*(traced_alone(rule, d_out_of_rule) for _ in range(2))):
            return Check(PURE, False, hint)
    if _alike(first.jaxpr, again.jaxpr):
        return Check(PURE, True)
    check = same(PURE, call, comparison, compiled([again], call.values, d_out)(call.values, d_out)[0], wanted)
    return check if check.ok else Check(PURE, False, f"{check.detail}: {hint}")


def _alike(one: Any, other: Any) -> bool:
    texts = [re.sub(r"0x[0-9a-f]+", "", str(jaxpr)) for jaxpr in (one, other)]
    numbers = [list(_numbers(jaxpr)) for jaxpr in (one, other)]
    return texts[0] == texts[1] and len(numbers[0]) == len(numbers[1]) and all(map(_identical, *numbers))


def _numbers(jaxpr: Any) -> Iterator[Any]:
    """Yields the constants of a jaxpr, at any depth, which its text does not tell apart."""
    yield from getattr(jaxpr, "consts", ())
    for equation in jaxpr.eqns:
        yield from (atom.val for atom in equation.invars if isinstance(atom, Literal))
        for nested in jaxprs_in_params(equation.params):
            yield from _numbers(nested)


def _identical(one: Any, other: Any) -> bool:
    if jnp.issubdtype(getattr(one, "dtype", np.float32), jax.dtypes.prng_key):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    pair = np.asarray(one), np.asarray(other)
    return pair[0].shape == pair[1].shape and pair[0].tobytes() == pair[1].tobytes()
