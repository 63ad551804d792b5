"""A part of the corpora: one wrong rule of each kind, and every twentieth right one.

All of them, on several seeds and in three dtypes, are run by `python -m experiments.checker_score`, since that takes
half an hour.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.verify.compare import compare_vjp
from jbackprop.verify.corpus.right import RIGHT
from jbackprop.verify.corpus.wrong import WRONG
from jbackprop.verify.diagnosis import KINDS

OF_EACH_KIND = {row.kind: row for row in reversed(WRONG)}


def report(row):
    dtype = row.dtypes[0]
    with jax.enable_x64(dtype == "float64"):
        probe = row.probe(np.random.default_rng(0), jnp.dtype(dtype))
        return compare_vjp(probe.function, *probe.args, kwargs=probe.kwargs, **row.options)


def test_the_corpora_are_large_and_their_names_are_unique():
    for rows in (WRONG, RIGHT):
        assert len(rows) >= 60
        assert len({row.name for row in rows}) == len(rows)
    assert {row.kind for row in WRONG} <= set(KINDS)


@pytest.mark.parametrize("row", OF_EACH_KIND.values(), ids=OF_EACH_KIND.keys())
def test_a_wrong_rule_of_each_kind_is_caught(row):
    found = report(row)
    assert not found.ok
    assert sorted(found.wrong) == sorted(row.arguments)
    if row.kind != "unexplained":
        assert {diagnosis.kind for diagnosis in found.diagnoses} & {row.kind, *row.same_as}


@pytest.mark.parametrize("row", RIGHT[::20], ids=[row.name for row in RIGHT[::20]])
def test_no_false_alarm_on_a_right_rule(row):
    found = report(row)
    assert found.ok, f"\n{found}"
    assert not found.wrong
