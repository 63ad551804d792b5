"""Many devices: the same numbers, where the arrays lie, and what the compiler has them exchange."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import communication
from experiments.collectives import Collective, collectives
from experiments.readme_tables import with_tables
from jbackprop.verify.cases import RULES

PROGRAM = Path(__file__).with_name("on_eight_devices.py")


def on_eight_devices(which: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), which],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROGRAM.parents[2],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": "8", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(PROGRAM.parents[2])},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found() -> dict:
    return on_eight_devices("some")


def assert_agree(agreement: dict) -> None:
    for where, gradients in agreement.items():
        assert gradients["apart"] <= 1e-6, where
        assert gradients["kept"], where


def assert_keep_the_sharding(rules: dict) -> None:
    for where, rule in rules.items():
        assert rule["as primals"], where
        # XLA gathers the examples of a convolution with groups, whoever wrote its backward pass
        allowed = set(rule["of autodiff"]["kinds"]) if "of autodiff" in rule else {"all-reduce"}
        assert set(rule["kinds"]) <= allowed, where


def test_losses_and_gradients_are_those_of_one_device(found):
    assert len(found["agreement"]) == 6
    assert_agree(found["agreement"])


def test_an_epoch_trains_the_same_and_the_optimizer_keeps_a_share(found):
    assert found["trained"]["apart"] <= 1e-6
    assert 0 <= found["trained"]["checked"] <= 1e-6
    assert found["trained"]["smallest share"] == 0.25


def test_each_rule_keeps_the_sharding_of_its_primals_and_gathers_nothing(found):
    assert {where.split(",")[0] for where in found["rules"]} == {case.name for case in RULES}
    assert_keep_the_sharding(found["rules"])
    assert found["rules"]["linear, batch"]["kinds"] == ["all-reduce"]  # of the parameters' gradients


def test_a_rule_that_gathers_the_batch_is_seen(found):
    assert found["planted"]["kinds"] == ["all-gather"]


def test_a_step_exchanges_what_follows_from_the_shapes(found):
    for label, (from_shapes, compiled) in found["exchange"].items():
        assert from_shapes == compiled, label
    assert found["exchange"]["2 model"][0] == {"all-reduce": 32 * 10 * 4}


def test_layers_are_paired_as_the_network_calls_them(found):
    """w1 with w2, not with w10; the eleventh has no partner."""
    layers = [found["pairs"][f"w{t}"] for t in range(1, 12)]
    assert layers == ["columns", "rows"] * 5 + ["whole"]


def test_the_page_quotes_the_table():
    page = communication.PAGE.read_text(encoding="utf-8")
    results = json.loads(communication.RESULTS.read_text())
    shown = with_tables(page, {"communication": lambda: communication.table(results)})
    assert shown == page, "run: python -m experiments.communication"


@pytest.mark.slow
def test_every_network_and_example_on_every_mesh():
    found = on_eight_devices("all")
    assert len(found["agreement"]) == 10
    assert_agree(found["agreement"])
    assert_keep_the_sharding(found["rules"])
    assert 0 < found["trained"]["checked"] <= 1e-6


@pytest.mark.parametrize(
    ("name", "key", "words"),
    [
        ("too many", "mesh.data", r"4 x 4 = 16 devices are more than the 8 that JAX sees \(cpu\). A CPU as that many"),
        ("batch", "batch_size", "36 examples cannot be divided among mesh.data = 8 devices"),
        ("units", "mesh.model", "12 units cannot be divided among 8 devices"),
        ("one layer", "mesh.model", "2 devices share the units between two dense layers, and this network has 1"),
        ("fsdp alone", "mesh.fsdp", "parameters are shared out along mesh.data, which is 1"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_by_name(found, name, key, words):
    named, message = found["refused"][name]
    assert named == key
    assert re.search(words, message)


def test_collectives_are_read_off_the_text():
    text = """
    %a.1 = (f32[3]{0}, /*index=1*/f32[2,2]{1,0}) all-reduce(%x, %y), replica_groups={{0,1},{2,3}}, to_apply=%add
    ROOT %b = bf16[8]{0} all-gather(%x), replica_groups=mesh['data'=4,'model'=2] {'data'}, dimensions={0}
    %c = f32[2]{0} reduce-scatter(%x), replica_groups=[2,4]<=[8], dimensions={0}
    %d = f32[] collective-permute(%x), source_target_pairs={{0,1},{1,0}}
    %e = f32[4]{0} get-tuple-element(%a.1), index=0
    """
    found = collectives(text)
    assert found == [
        Collective("all-reduce", 28, 2),
        Collective("all-gather", 16, 4),
        Collective("reduce-scatter", 32, 4),
        Collective("collective-permute", 4, 2),
    ]
    assert [collective.sent for collective in found] == [28, 12, 24, 4]
