"""The clauses of the contract between a rule and JAX, each by its name for `skip`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jbackprop.verify import contract, finite_differences
from jbackprop.verify.alone import alone_check, has_symbolic_zeros
from jbackprop.verify.arguments import Call, function_name, large
from jbackprop.verify.clause_names import DIFFERENCES, TYPES_OF_FWD, VALUE, VALUE_OF_REFERENCE
from jbackprop.verify.measure import Comparison
from jbackprop.verify.misuse import exchanged_in_words, in_words, residuals_in_words
from jbackprop.verify.pullback import Traced, split_outputs
from jbackprop.verify.purity import purity_check
from jbackprop.verify.report import Check
from jbackprop.verify.rule import Rule
from jbackprop.verify.second_order import second_order_check
from jbackprop.verify.structure import bwd_check, fwd_check
from jbackprop.verify.transformations import sharding_check, transformation_checks

SIDES_WITH_THE_RULE = (
    "note: the rule agrees with finite differences, autodiff of the primal does not: it stops a gradient"
)
CUSTOM_JVP_IS_WRONG = "no: a custom_jvp inside is wrong; `reference=automatic(f, custom_jvp=True)` names the argument"

Function = Callable[..., Any]


def structure_checks(
    f: Function, primal: Function, rule: Rule | None, call: Call
) -> tuple[list[Check], dict[str, str]]:
    """The checks of types; those of `bwd` only where `f` is itself a rule whose `bwd` can be called."""
    checks = [fwd_check(f, primal, call, lambda error: in_words(error, rule))]
    if not checks[0].ok and (words := exchanged_in_words(rule)):
        checks = [Check(TYPES_OF_FWD, False, f"{checks[0].detail}; {words}")]
    if rule is None or not rule.plain:
        return checks, {}
    check, complaints = bwd_check(rule, residuals_in_words)
    return [*checks, check], complaints


def dtype_complaints(call: Call, comparison: Comparison) -> dict[str, str]:
    """A cotangent that comes out of `jax.vjp` in another dtype than its argument's, which an optimizer would apply."""
    found = next(iter(comparison.rule.pulled.values())).cotangents
    complaints = {}
    for i, value, cotangent in zip(call.differentiated, call.values, found, strict=True):
        wanted = jnp.asarray(value).dtype
        if cotangent.dtype != wanted:
            complaints[call.names[i]] = f"cotangent is {cotangent.dtype}, the argument {wanted}"
    return complaints


def numeric_checks(
    f: Function,
    primal: Function,
    reference: Function | None,
    call: Call,
    comparison: Comparison,
    traces: tuple[Traced, Traced],
    rule: Rule | None,
    skip: frozenset[str],
    seed: int,
) -> list[Check]:
    """The checks that need numbers; `traces` are two of `f` at the same call, `rule` is what `f` is itself."""
    oracle = primal if reference is None else reference
    checks = [] if "value" in skip else _value_checks(primal, reference, call, comparison)
    if "linear" not in skip:
        checks.append(contract.linearity_check(call, comparison))
    if "zero" not in skip:
        checks.append(contract.zero_check(call, comparison))
    if "pure" not in skip:
        checks.append(purity_check(call, comparison, *traces, rule))
    if "jit" not in skip:
        checks.append(contract.jit_check(f, oracle, call, comparison))
    checks += transformation_checks(f, oracle, call, comparison, skip)
    further = []
    if (
        "second order" not in skip and reference is None and not large(call)
    ):  # a declared gradient need not be one of a function
        further.append(second_order_check(f, oracle, call, comparison, seed))
    if "symbolic zeros" not in skip and has_symbolic_zeros(f, call):
        further.append(alone_check(f, call, comparison))
    if "sharding" not in skip:
        further.append(sharding_check(f, call, comparison))
    return [*checks, *(check for check in further if check is not None)]


def finite_difference_check(
    oracle: Function, call: Call, comparison: Comparison, agrees: bool, seed: int
) -> tuple[Check | None, str]:
    """Asks finite differences; returns a check where they have a say, and a remark where autodiff contradicts them.

    They overrule the oracle where it and the rule follow the same `custom_jvp` inside the primal.
    """
    if not finite_differences.worth_asking(comparison):
        return None, ""
    jvp_inside = _has_custom_jvp(oracle, call)
    if agrees and not jvp_inside and large(call):
        return None, ""
    opinion = finite_differences.directional_derivatives(oracle, call, comparison, seed)
    if not opinion.smooth:
        return None, ""
    if opinion.of_oracle:
        return Check(f"{DIFFERENCES} with autodiff", True), ""
    if agrees and jvp_inside and not opinion.of_rule:
        return Check(DIFFERENCES, False, CUSTOM_JVP_IS_WRONG), ""
    if agrees:
        return None, "note: finite differences contradict autodiff of the primal, which stops a gradient somewhere"
    if opinion.of_rule:
        return None, SIDES_WITH_THE_RULE
    return None, ""


def _has_custom_jvp(oracle: Function, call: Call) -> bool:
    text = str(jax.make_jaxpr(lambda leaves: split_outputs(oracle, call, leaves))(call.values))
    return "custom_jvp_call" in text or "CustomJVP" in text


def _value_checks(primal: Function, reference: Function | None, call: Call, comparison: Comparison) -> list[Check]:
    of_oracle = next(iter(comparison.oracle.pulled.values()))
    values, others = of_oracle.values, of_oracle.others
    values64 = next(iter(comparison.oracle64.pulled.values())).values if comparison.oracle64 else None
    if reference is not None or _has_custom_jvp(primal, call):  # which may have another value under `jax.vjp`
        given, given_others = jax.jit(lambda leaves: split_outputs(primal, call, leaves))(call.values)
    else:
        given, given_others = values, others
    if reference is None:
        return [contract.value_check(VALUE, comparison, given, values64, given_others)]
    of_reference = f"{VALUE_OF_REFERENCE} {function_name(reference)}"
    return [
        contract.value_check(VALUE, comparison, given, None, given_others),
        contract.value_check(of_reference, comparison, values, values64, others),
    ]
