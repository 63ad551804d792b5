"""No automatic differentiation inside `forward`, `backward` and `loss_and_grads`."""

import jax
import pytest

from jbackprop.verify.network_cases import NETWORKS

DIFFERENTIATORS = (
    "grad",
    "value_and_grad",
    "vjp",
    "jvp",
    "linearize",
    "jacobian",
    "jacrev",
    "jacfwd",
    "linear_transpose",
)

RULES = ("custom_", "call_hi_primitive")  # the second is a rule under JAX_CUSTOM_VJP3=1


def primitives(jaxpr) -> set[str]:
    found = set()
    for eqn in jaxpr.eqns:
        found.add(eqn.primitive.name)
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                found |= primitives(inner)
    return found


def shapes(case):
    key = jax.random.key(0)
    return jax.eval_shape(lambda: (case.params(key, "float32"), case.batch(key, "float32")))


def traced(function, case) -> set[str]:
    params, batch = shapes(case)
    return primitives(jax.make_jaxpr(function)(params, *batch).jaxpr)


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_no_custom_rule_is_left_in_the_explicit_computation(case):
    assert not {name for name in traced(case.loss_and_grads, case) if name.startswith(RULES)}
    assert {name for name in traced(case.loss, case) if name.startswith(RULES)}


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_the_explicit_computation_runs_where_jax_differentiates_nothing(case, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("automatic differentiation was called")

    params, batch = shapes(case)
    for name in DIFFERENTIATORS:
        monkeypatch.setattr(jax, name, refuse)
    jax.eval_shape(case.loss_and_grads, params, *batch)
    with pytest.raises(AssertionError, match="automatic differentiation was called"):
        jax.grad(case.loss)(params, *batch)
