"""One output or one argument at a time: a rule with `symbolic_zeros` is told then that the others have no part."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxprs_in_params

from jbackprop.verify.arguments import Call
from jbackprop.verify.clause_names import ONE_AT_A_TIME
from jbackprop.verify.compiling import BARELY_OPTIMISED
from jbackprop.verify.contract import same
from jbackprop.verify.measure import Comparison
from jbackprop.verify.misuse import in_words
from jbackprop.verify.pullback import Pulled, split_outputs
from jbackprop.verify.report import Check


def alone_check(f: Callable[..., Any], call: Call, comparison: Comparison) -> Check:
    """Compares with the pullback of all arguments at once, for cotangents that are zero but for one output."""
    d_out = comparison.cotangents["random"]
    of_all = comparison.rule.pulled["random"].cotangents
    values = call.values

    def of_one_argument(i: int, leaves: Sequence[Any], d_out: Sequence[Any]) -> Any:
        def partial(leaf: Any) -> Any:
            return split_outputs(f, call, [*leaves[:i], leaf, *leaves[i + 1 :]])[0]

        return jax.vjp(partial, leaves[i])[1](tuple(d_out))[0]

    def of_one_output(k: int, leaves: Sequence[Any], d_out: Sequence[Any]) -> Any:
        return jax.vjp(lambda *leaves: split_outputs(f, call, leaves)[0][k], *leaves)[1](d_out[k])

    def run(leaves: Sequence[Any], d_out: Sequence[Any]) -> Any:
        arguments = tuple(of_one_argument(i, leaves, d_out) for i in range(len(leaves)))
        return arguments, [of_one_output(k, leaves, d_out) for k in range(len(d_out))]

    try:
        arguments, outputs = jax.jit(run, compiler_options=BARELY_OPTIMISED)(values, d_out)
    except Exception as error:  # of the rule, which has run with all outputs and arguments at once
        return Check(ONE_AT_A_TIME, False, _in_words(error))
    check = same(ONE_AT_A_TIME, call, comparison, Pulled((), (), arguments), Pulled((), (), of_all))
    for k, cotangents in enumerate(outputs):
        if not check.ok:
            break
        others_zero = [ct if other == k else np.zeros_like(ct) for other, ct in enumerate(d_out)]
        wanted = comparison.run_rule(values, others_zero)
        check = same(ONE_AT_A_TIME, call, comparison, Pulled((), (), cotangents), wanted)
    return check


def _in_words(error: Exception) -> str:
    words = in_words(error, None)
    if "SymbolicZero" not in str(error):
        return words
    return f"a cotangent or tangent that is zero by construction comes as a SymbolicZero: instantiate() it ({words})"


def has_symbolic_zeros(f: Callable[..., Any], call: Call) -> bool:
    """Whether a rule in `f` asks to be told which cotangents and tangents are zero by construction."""
    jaxpr = jax.make_jaxpr(lambda leaves: split_outputs(f, call, leaves))(call.values)
    return _asks(jaxpr.jaxpr)


def _asks(jaxpr: Any) -> bool:
    for equation in jaxpr.eqns:
        rule = equation.params.get("_prim")  # JAX_CUSTOM_VJP3=1, see inline.py
        params = {
            "symbolic_zeros": getattr(rule, "symbolic_zeros", None),
            **getattr(rule, "params", {}),
            **equation.params,
        }
        if params["symbolic_zeros"] or any(map(_asks, jaxprs_in_params(params))):
            return True
    return False
