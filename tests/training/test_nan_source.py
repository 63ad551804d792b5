"""A loss that is not finite ends a run, which names the rule where it began and keeps what was good."""

import io
import json

import jax
import jax.numpy as jnp
import msgspec
import pytest
from rich.console import Console

from jbackprop.layers.linear import linear
from jbackprop.layers.relu import relu
from jbackprop.training import checkpoint_files as files
from jbackprop.training import config as configs
from jbackprop.training import finish, nan_source, objective
from jbackprop.training import train as trains
from jbackprop.training import trainer as trainers
from jbackprop.training.config import Config, Data, Network, Optimizer
from jbackprop.training.data import Split
from jbackprop.training.loop import TrainingError, beginning, fit

STEEP = Config(
    network=Network(name="mlp", hidden=(16, 16), activation="leaky_relu"), optimizer=Optimizer(learning_rate=1e6)
)


@jax.custom_vjp
def broken(x):
    return x


broken.defvjp(lambda x: (x, x), lambda x, dy: (dy / jnp.zeros_like(x),))


@jax.custom_vjp
def logarithm(x):
    return jnp.log(x)


logarithm.defvjp(lambda x: (jnp.log(x), x), lambda x, dy: (dy / x,))


@pytest.fixture(scope="module")
def model(small):
    return objective.of_run(Config(network=Network(hidden=(8,))), small)


def entered(model, loss, params) -> str:
    batch = Split(jnp.ones((2, 8, 8, 1), jnp.uint8), jnp.zeros(2, jnp.int32))
    return nan_source.entry(model._replace(loss=loss), params, batch)


def test_the_rule_whose_cotangent_is_not_finite_is_named(model):
    found = entered(model, lambda p, x, y: jnp.sum(relu(broken(linear(x, p["w"])))), {"w": jnp.ones((64, 3))})
    assert "enters backwards at layer 2, broken" in found
    assert "the cotangent of its output is finite" in found


def test_the_rule_whose_value_is_not_finite_is_named(model):
    found = entered(model, lambda p, x, y: jnp.sum(logarithm(linear(x, p["w"]))), {"w": -jnp.ones((64, 3))})
    assert "a NaN enters forwards at layer 2, logarithm" in found


def test_nothing_is_named_where_all_is_finite(model):
    assert not entered(model, lambda p, x, y: jnp.sum(linear(x, p["w"])), {"w": jnp.ones((64, 3))})


@pytest.mark.parametrize("loop", ["scan", "steps"])
def test_the_first_step_that_goes_wrong_is_found(small, loop):
    config = msgspec.structs.replace(STEEP, loop=loop, batch_size=20)
    trainer = trainers.build(config, small)
    with pytest.raises(TrainingError) as raised:
        list(fit(trainer, small, 0, 9))
    words = nan_source.explain(trainer, small, beginning(trainer, 0), raised.value)
    # the loss is that of the parameters before the step: these go wrong in the step before it, or the loss in its own
    assert words.split(":")[0] in {f"step {raised.value.step_in_epoch}", f"step {raised.value.step_in_epoch + 1}"}
    assert "an infinity enters" in words or "a NaN enters" in words or "the update of the optimiser is not" in words


def test_one_seed_of_several_goes_wrong(small):
    config = msgspec.structs.replace(STEEP, seeds=2, batch_size=20)
    trainer = trainers.build(config, small)
    start = beginning(trainer, 0)
    with pytest.raises(TrainingError) as raised:
        list(fit(trainer, small, 0, 9))
    assert nan_source.explain(trainer, small, start, raised.value).startswith("step ")


def test_a_computation_that_does_not_repeat_itself_is_said(small):
    trainer = trainers.build(Config(network=Network(hidden=(8,)), batch_size=20), small)
    words = nan_source.explain(trainer, small, beginning(trainer, 0), TrainingError("", 1, 4))
    assert "does not repeat itself" in words


def test_the_run_keeps_its_last_good_checkpoint(data_folder, tmp_path, monkeypatch):
    for name in ("_plot_run", "_save"):
        monkeypatch.setattr(finish, name, lambda *arguments: None)
    good = Config(network=STEEP.network, data=Data(dir=str(data_folder)), epochs=2, runs=str(tmp_path), name="run")
    good = msgspec.structs.replace(good, agreement_epochs=0, optimizer=Optimizer(learning_rate=0.1))
    monkeypatch.setattr(trains.finish, "_compare", lambda *arguments: None)
    result = trains.train(good, Console(file=io.StringIO()))
    assert not result.ended
    # from here on with a learning rate that no training survives
    steep = msgspec.structs.replace(good, epochs=9, optimizer=Optimizer(learning_rate=1e9))
    (result.folder / "config.toml").write_text(configs.to_toml(steep))
    before = files.names(result.folder / "checkpoints")
    diverged = trains.train(steep, Console(file=io.StringIO()), resumed=result.folder)
    assert diverged.ended
    assert "the loss is" in diverged.ended
    assert "(epoch 3)" in diverged.ended
    assert "try a smaller optimizer.learning_rate\nstep 8" in diverged.ended
    assert files.names(result.folder / "checkpoints") == before
    assert files.verify(result.folder / "checkpoints" / before[0]) is None
    assert json.loads((result.folder / "summary.json").read_text())["ended"] == diverged.ended
