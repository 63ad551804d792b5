"""The folder of a run and the files in it: written whole, under their names, and never with what is not finite."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_probes import ROW

from jbackprop import whole_file
from jbackprop.json_numbers import with_null
from jbackprop.training import record, run
from jbackprop.training.config import Config
from jbackprop.training.loop import Position, Progress
from jbackprop.training.state import State


def test_a_second_run_in_the_same_second_gets_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(run.time, "strftime", lambda form: "now")
    names = [run.new_folder(tmp_path / "runs", "x").name for _ in range(3)]
    assert names == ["x-now", "x-now-2", "x-now-3"]


def test_a_runs_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(run.RunError, match=r"cannot make the run folder .*file.*--runs"):
        run.new_folder(tmp_path / "file", "x")


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    target = tmp_path / "params.npz"
    target.write_text("old")

    def half(path):
        path.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        whole_file.write(target, half)
    assert [path.name for path in tmp_path.iterdir()] == ["params.npz"]
    assert target.read_text() == "old"


def test_parameters_are_saved_under_their_paths(tmp_path):
    params = {"conv": [{"w": np.ones((2, 2)), "b": np.zeros(2)}], "dense": [{"w": np.ones(3)}]}
    run.save_params(tmp_path, params)
    assert set(np.load(tmp_path / "params.npz")) == {"conv/0/w", "conv/0/b", "dense/0/w"}


def test_a_loss_that_is_not_finite_is_null(tmp_path):
    disagreement = {"w": float("inf"), "b": 0.0}
    row = ROW._replace(loss=float("nan"), test_loss=float("inf"), gradient_disagreement=disagreement)
    run.append_metrics(tmp_path, [row])

    def refuse(constant):
        raise AssertionError(constant)

    row = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    wanted = ROW._replace(loss=None, test_loss=None, gradient_disagreement={"w": None, "b": 0.0})
    assert row == {key: value for key, value in wanted._asdict().items() if key != "seed"}


def test_what_is_not_finite_is_null_in_the_summary():
    found = with_null({"a": [float("nan"), 1.0], "b": {"c": float("inf")}, "d": None, "e": 3})
    assert found == {"a": [None, 1.0], "b": {"c": None}, "d": None, "e": 3}


@pytest.mark.parametrize(("value", "saved"), [(1.0, True), (np.nan, False)])
def test_a_checkpoint_is_written_of_finite_parameters_alone(tmp_path, monkeypatch, value, saved):
    monkeypatch.setattr(record, "_events", lambda *arguments: None)
    kept = record.Record(tmp_path, Config(epochs=1), {}, None, tmp_path)
    none = np.zeros(0, np.float32)
    for epoch, row in ((0, None), (1, ROW)):
        state = State({"w": jnp.full(2, value)}, (), jnp.int32(0))
        kept.add(Progress(Position(state, jax.random.key(0), epoch, none, none), row))
    assert (tmp_path / "checkpoints" / "1").exists() == saved


def test_without_tensorboard_there_are_no_events(tmp_path, monkeypatch):
    monkeypatch.setattr(record.importlib.util, "find_spec", lambda name: None)
    assert record._events(tmp_path, 0) is None
    assert not list(tmp_path.iterdir())
