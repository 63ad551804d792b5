"""The tables of experiments/README.md are those of the kept results."""

import json
import re

import pytest

from experiments import (
    depth_scaling,
    flax_itself,
    mutation_results,
    nielsen_in_numpy,
    others_rules,
    published_results,
    wrong_gradients_shown,
)
from experiments.readme_tables import RESULTS, ROOT, with_tables

PAGE = ROOT / "experiments" / "README.md"


def kept(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


# mark -> what stands between, and the program that writes it
TABLES = {
    "published": (lambda: published_results.table(kept("published_results")), "published_results"),
    "nielsen": (lambda: nielsen_in_numpy.in_words(kept("nielsen_in_numpy")), "nielsen_in_numpy"),
    "flax": (lambda: flax_itself.in_words(kept("flax_itself")), "flax_itself"),
    "wrong_gradients": (lambda: wrong_gradients_shown.table(kept("wrong_gradients_train")), "wrong_gradients_train"),
    "depth_scaling": (lambda: depth_scaling.section(kept("depth_scaling")), "depth_scaling"),
    "mutation_counts": (lambda: mutation_results.counts(kept("mutation")), "mutation"),
    "others_rules": (lambda: others_rules.section(kept("others_rules")), "others_rules"),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_table_is_up_to_date(name):
    table, program = TABLES[name]
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, {name: table}) == page, f"run: python -m experiments.{program}"


def test_every_mark_of_the_page_is_looked_at():
    assert set(re.findall(r"<!-- (\w+): begin -->", PAGE.read_text(encoding="utf-8"))) == set(TABLES)
