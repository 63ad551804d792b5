"""No automatic differentiation inside `forward`, `backward` and `loss_and_grads`."""

import jax
import pytest

from jbackprop.verify.network_cases import NETWORKS
from tests.primitives import custom_rules

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


def shapes(case):
    key = jax.random.key(0)
    return jax.eval_shape(lambda: (case.params(key, "float32"), case.batch(key, "float32")))


@pytest.mark.parametrize("case", NETWORKS, ids=lambda case: case.name)
def test_no_custom_rule_is_left_in_the_explicit_computation(case):
    params, batch = shapes(case)
    assert not custom_rules(case.loss_and_grads, params, *batch)
    assert custom_rules(case.loss, params, *batch)


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
