"""XLA's options of a run: which are chosen, that its programs are compiled with them, and that nothing else is."""

import os
from importlib.metadata import version

import jax
import numpy as np
import pytest

from jbackprop import cli, compiler_options
from jbackprop.training import compiler, epochs, trainer
from jbackprop.training.config import Config, ConfigError, Data, Network, to_toml
from jbackprop.training.data import load
from jbackprop.training.interrupt import never

NETWORKS = {
    "two_layer": Network(name="two_layer", hidden=(4,)),
    "mlp": Network(name="mlp", hidden=(4, 4)),
    "cnn": Network(name="cnn", hidden=(), channels=(2,)),
    "graph": Network(name="graph", hidden=(4, 4)),
}
UNKNOWN = {"xla_no_such_option": "x"}
ON_CPU = jax.default_backend() == "cpu"


def configured(network: str, **fields) -> Config:
    return Config(network=NETWORKS[network], batch_size=20, **fields)


@pytest.fixture
def programs(monkeypatch):
    """What is compiled ahead of time, in order."""
    kept, compile_lowered = [], jax.stages.Lowered.compile

    def compiled(lowered, *arguments):
        kept.append(compile_lowered(lowered, *arguments))
        return kept[-1]

    monkeypatch.setattr(jax.stages.Lowered, "compile", compiled)
    return kept


def is_threaded(program) -> bool:
    """An executable carries the options that it was compiled with."""
    (option,) = compiler_options.THREADED.values()
    return option.encode() in program.runtime_executable().serialize()


def test_xla_has_the_option_on_a_cpu():
    assert (compiler_options.refusal() is None) == ON_CPU


@pytest.mark.parametrize("network", NETWORKS)
def test_convolutions_are_threaded_on_a_cpu(network, monkeypatch):
    assert compiler.choose(configured(network)) == ("threaded" if network == "cnn" and ON_CPU else "default")
    assert compiler.choose(configured(network, compiler="default")) == "default"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiler.choose(configured(network)) == "default"
    with pytest.raises(ConfigError, match=r"^compiler: 'threaded' is .* of the CPU, and JAX computes on gpu$"):
        compiler.choose(configured(network, compiler="threaded"))


def test_a_version_of_xla_without_the_option_trains_without_it(small, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(compiler_options, "THREADED", UNKNOWN)
    assert trainer.build(configured("cnn"), small).compiler == "default"


def test_what_cannot_be_had_is_refused_by_name(data_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(compiler_options, "THREADED", UNKNOWN)
    config = configured("two_layer", data=Data(dir=str(data_folder)), runs=str(tmp_path / "runs"))
    (tmp_path / "my.toml").write_text(to_toml(config))
    assert cli.main(["train", str(tmp_path / "my.toml"), "--compiler", "threaded"]) == 2
    words = f"command line: compiler: 'threaded' is a compiler option that jaxlib {version('jaxlib')} does not have"
    assert words in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_epoch_is_compiled_with_it_and_nothing_else_is(small, programs):
    before = dict(jax.config.values), dict(os.environ)
    ended = []
    for setting, threaded in (("auto", ON_CPU), ("default", False)):
        built = trainer.build(configured("cnn", compiler=setting), small)
        assert (is_threaded(programs[-1]), built.compiler == "threaded") == (threaded, threaded)
        state, losses, _ = built.epoch(*built.init(0), 1, never)
        ended.append((losses, built.evaluate(state.params, small.test).loss))
    np.testing.assert_allclose(ended[0][0], ended[1][0], rtol=3e-6)
    np.testing.assert_allclose(ended[0][1], ended[1][1], rtol=3e-6)
    jax.jit(lambda x: x + 1).lower(np.float32(1)).compile()
    assert not is_threaded(programs[-1])
    assert (dict(jax.config.values), dict(os.environ)) == before


@pytest.mark.parametrize("loop", ["scan", "steps", "stream"])
def test_each_way_through_an_epoch_takes_the_options(loop, small, data_folder, monkeypatch):
    monkeypatch.setattr(compiler, "options", lambda chosen: {"compiler_options": UNKNOWN})
    streams = loop == "stream"
    dataset = load(Data(dir=str(data_folder), on_device_bytes=0)) if streams else small
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        trainer.build(configured("two_layer", loop="auto" if streams else loop), dataset)


def test_the_evaluation_takes_the_options(small, monkeypatch):
    monkeypatch.setattr(compiler, "options", lambda chosen: {"compiler_options": UNKNOWN})
    monkeypatch.setattr(epochs, "scanned", lambda *arguments, **named: lambda *called: None)
    built = trainer.build(configured("two_layer", loop="scan"), small)
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        built.evaluate(built.init(0)[0].params, small.test)
