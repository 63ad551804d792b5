"""What the checker says of rules that others wrote, in packages that the tests need anyway."""

import pytest

from experiments.others_rules_case import OthersRule, outcome
from experiments.others_rules_jax import JAX
from experiments.others_rules_numerics import NUMERICS
from jbackprop.verify.compare import compare_vjp

CHEAP = ("nn.relu", "numpy.logaddexp", "scipy.special.xlogy", "scale_gradient")


@pytest.mark.parametrize("rule", [rule for rule in (*JAX, *NUMERICS) if rule.name in CHEAP], ids=lambda rule: rule.name)
def test_finding_is_the_recorded_one(rule: OthersRule) -> None:
    checked = rule.probe()
    report = compare_vjp(checked.function, *checked.args, **checked.options)
    assert outcome(report) == rule.expected
