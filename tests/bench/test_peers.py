"""Every peer trains the same model on the same batches: their losses agree step by step. No time is looked at."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.bench import models, peers
from jbackprop.bench.machine import cores
from jbackprop.bench.peers import BASELINE, Missing, as_users_run, best, measure_peers, task
from jbackprop.bench.peers_equinox import equinox_peers
from jbackprop.bench.peers_flax import flax_peers
from jbackprop.bench.peers_jax import jax_peers
from jbackprop.bench.peers_layers import channels_first
from jbackprop.bench.peers_torch import threads_of_torch, torch_peers
from jbackprop.networks.cnn import Block, Sizes

NETWORKS = {
    "two_layer": models.two_layer_model((12, 8, 5), 16),
    "mlp": models.mlp_model((12, 8, 6, 5), 16),
    "cnn": models.cnn_model(Sizes((8, 8, 1), (Block(3, 3, "SAME"), Block(4, 3, "SAME")), (10, 5)), 4),
}
OTHERS = {
    "flax": flax_peers,
    "equinox": equinox_peers,
    "torch": lambda: {name: make for name, make in torch_peers().items() if name != "torch, compiled"},
}


@functools.cache
def given(name):
    """The task of three batches, and the losses of plain JAX on them, one step after the other."""
    made = task(NETWORKS[name], "small", jnp.float32, 3)
    params, losses = made.params, []
    step = jax.jit(jax.value_and_grad(made.model.plain))
    for x, y in made.batches:
        loss, grads = step(params, x, y)
        params = jax.tree.map(lambda p, g: p - peers.RATE * g, params, grads)
        losses.append(float(loss))
    return made, np.array(losses)


def losses(name, make):
    """Of the first pass over the batches, by that peer and in plain JAX."""
    made, wanted = given(name)
    with as_users_run(), threads_of_torch():
        return peers._as_array(make(made)()), wanted


@pytest.mark.parametrize("make", jax_peers().values(), ids=list(jax_peers()))
def test_the_ways_of_jax_lose_the_same(make):
    got, wanted = losses("mlp", make)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert abs(wanted[0] - wanted[1]) > 1e-3  # the batches differ, so the order of them shows


@pytest.mark.parametrize("name", ["two_layer", pytest.param("cnn", marks=pytest.mark.slow)])
@pytest.mark.parametrize("package", OTHERS)
def test_other_libraries_lose_the_same(package, name):
    pytest.importorskip(package, reason=f"{package} is not installed (extra `bench`)")
    made = OTHERS[package]()
    if name == "two_layer":
        made.pop("torch, eager, channels last", None)
    for peer, make in made.items():
        got, wanted = losses(name, make)
        np.testing.assert_allclose(got, wanted, rtol=1e-4, err_msg=peer)


@pytest.mark.slow  # a C++ compiler runs
def test_compiled_torch_loses_the_same():
    pytest.importorskip("torch", reason="torch is not installed (extra `bench`)")
    got, wanted = losses("mlp", torch_peers()["torch, compiled"])
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_flattened_channels_first_the_first_dense_layer_reads_the_same_numbers():
    made, _ = given("cnn")
    _, dense, _ = channels_first(made)
    maps = np.random.default_rng(0).standard_normal((2, 2, 2, 4))  # NHWC after two pools
    w = np.asarray(made.params["dense"][0]["w"])
    first = maps.transpose(0, 3, 1, 2).reshape(2, -1) @ np.asarray(dense[0][0]).T
    np.testing.assert_allclose(first, maps.reshape(2, -1) @ w, rtol=1e-5, atol=1e-6)


def fake(per_batch):
    """A peer that returns these losses."""
    return lambda task: lambda: [jnp.float32(per_batch) for _ in task.batches]


def test_a_peer_that_cannot_run_is_named_and_one_that_learns_otherwise_is_noticed():
    def no_such_package(task):
        raise ModuleNotFoundError("No module named 'mxnet'", name="mxnet")

    def refuses(task):
        raise Missing("a layout of images")

    def breaks(task):
        raise RuntimeError("no compiler\nand more")

    made = {BASELINE: fake(2.0), "jbackprop, explicit": fake(2.0), "other": fake(2.5)}
    made |= {"a": no_such_package, "b": refuses, "c": breaks}
    found = measure_peers(given("mlp")[0], made, 0.0)
    assert found["left_out"] == {
        "a": "mxnet is not installed: pip install 'jbackprop[bench]'",
        "b": "a layout of images",
        "c": "RuntimeError: no compiler",
    }
    agree = {entry["name"]: entry["agree"] for entry in found["entries"]}
    assert agree == {BASELINE: True, "jbackprop, explicit": True, "other": False}
    assert {one["other"] for one in found["best"]} == {BASELINE}
    assert found["entries"][0]["verdict"] == "baseline"
    json.dumps(found, allow_nan=False)


def test_our_fastest_is_held_against_the_fastest_of_the_others():
    names = [
        BASELINE,
        "jbackprop, explicit",
        "jbackprop, rules",
        "torch, eager",
        "jbackprop, explicit, epoch in a scan",
    ]
    taken = np.tile([4.0, 2.0, 3.0, 1.0, 0.5], (7, 1))
    found = {one["kind"]: (one["ours"], one["other"], one["speed"]["median"]) for one in best(taken, names)}
    assert found == {
        "one step a call": ("jbackprop, explicit", "torch, eager", 0.5),
        "one step a call, against torch": ("jbackprop, explicit", "torch, eager", 0.5),
        "epoch in a scan, against anything": ("jbackprop, explicit, epoch in a scan", "torch, eager", 2.0),
    }


def test_speed_is_the_baselines_time_over_the_peers(monkeypatch):
    taken = np.tile([12.0, 3.0], (7, 1))
    monkeypatch.setattr(peers, "rounds", lambda *args, **kwargs: taken)
    found = measure_peers(given("mlp")[0], {BASELINE: fake(1.0), "jbackprop, rules": fake(1.0)}, 0.0)
    (base, ours) = found["entries"]
    assert (base["milliseconds_a_step"], ours["milliseconds_a_step"]) == (4e3, 1e3)  # three steps a sample
    assert ours["speed"] == {"median": 4.0, "low": 4.0, "high": 4.0}
    assert ours["samples_a_second"] == 16.0
    assert ours["verdict"] == "faster"


def test_threads_of_torch_are_put_back():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra `bench`)")
    before = torch.get_num_threads()
    torch.set_num_threads(cores() + 1)
    try:
        with threads_of_torch():
            assert torch.get_num_threads() == cores()
        assert torch.get_num_threads() == cores() + 1
    finally:
        torch.set_num_threads(before)
