"""Many rules in one test, by `jbackprop.testing`."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import jbackprop
from jbackprop import VJPError
from jbackprop.testing import RuleCall, rule_cases
from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.report import Report

QUICK = {"skip": tuple(clause for clause in CLAUSES if clause not in ("value", "linear", "zero"))}


@jax.custom_vjp
def wrong(x, w):
    return x * w


wrong.defvjp(lambda x, w: (x * w, (x, w)), lambda residuals, dy: (dy * residuals[1], -dy * residuals[0]))


def never():
    raise AssertionError("arguments were made while tests are collected")


CASES = [
    RuleCall(jnp.sin, ("f32[3]",), options=QUICK),
    RuleCall(jnp.cos, lambda: ("bf16[3]",), name="cosine", options=QUICK),
    RuleCall(jnp.sum, (jnp.ones(3),), kwargs={"axis": 0}, reference=lambda x, axis: x[0] + x[1] + x[2], options=QUICK),
]


@pytest.mark.parametrize("rule", rule_cases(CASES))
def test_a_list_of_calls_is_a_list_of_tests(rule):
    assert rule.check().ok


def test_the_names_are_those_of_the_calls_and_nothing_is_made_for_them():
    cases = rule_cases([*CASES, (jnp.tan, never), RuleCall(jnp.exp, never, name="x", marks=(pytest.mark.slow,))])
    assert [case.id for case in cases] == ["sin-f32[3]", "cosine", "sum", "tan", "x"]
    assert [mark.name for mark in cases[-1].marks] == ["slow"]


def test_a_wrong_rule_fails_its_test():
    with pytest.raises(VJPError) as caught:
        RuleCall(wrong, ("f32[3]", "f32[3]"), options=QUICK).check()
    assert caught.value.report.wrong == ("w",)


def test_the_seed_draws_other_arguments_and_options_are_passed_on(monkeypatch):
    calls = []

    def recorded(f, x, **options):
        calls.append((f, x, options))
        return Report("sin", "cos", (), ())

    monkeypatch.setattr("jbackprop.testing.check_vjp", recorded)
    call = RuleCall(jnp.sin, lambda: ("f32[9]",), kwargs={"n": 3}, reference=jnp.cos, options={"kinks": "match"})
    for seed in (0, 0, 1):
        call.check(seed)
    numbers = [x.tolist() for _, x, _ in calls]
    assert numbers[0] == numbers[1] != numbers[2]
    assert calls[2][2] == {"seed": 1, "kwargs": {"n": 3}, "reference": jnp.cos, "kinks": "match"}


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("call", [3, (), (jnp.sin,), ("f32[3]", jnp.sin)])
def test_what_is_no_call_is_refused(call):
    with pytest.raises(TypeError, match="a RuleCall or"):
        rule_cases([call])


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("call", [(jnp.sin, "f32[3]"), (jnp.add, "f32[3]", "f32[3]")])
def test_a_description_that_is_in_no_tuple_is_refused(call):
    with pytest.raises(TypeError, match=r"not 'f32\[3\]': write \('f32\[3\]',\)"):
        rule_cases([call])


def test_a_description_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="'f23' is unknown"):
        RuleCall(jnp.sin, ("f23[3]",)).check()


def test_the_library_imports_none_of_its_programs():
    """The train and bench extras are not there where the library alone is installed."""
    root = Path(jbackprop.__path__[0])
    files = [
        root / "testing.py",
        *(file for part in ("layers", "networks", "verify") for file in root.glob(f"{part}/**/*.py")),
    ]
    assert len(files) > 100
    programs = re.compile(
        r"^\s*(from jbackprop import .*|(from|import) jbackprop\.)\b(commands|training|bench)\b", re.MULTILINE
    )
    assert not [file.name for file in files if programs.search(file.read_text(encoding="utf-8"))]
