"""Configurations: what is read, what is refused and with which words."""

from pathlib import Path

import pytest

from jbackprop.training import config, run
from jbackprop.training.config import L2, Config, ConfigError, Data, Network, Optimizer

REFUSED = {
    "epoch = 3": "epoch: unknown key; did you mean epochs?",
    "colour = 3": "colour: unknown key; known keys: network, data, optimizer, ",
    "[optimizer]\nlearning-rate = 3": "optimizer.learning-rate: unknown key; did you mean learning_rate?",
    "epochs = 1.5": "epochs: expected int, got float",
    "epochs = 'many'": "epochs: expected int, got str",
    "epochs = 0": "epochs: expected int >= 1",
    "batch_size = 0": "batch_size: expected int >= 1",
    "seed = -1": "seed: expected int >= 0",
    "gradient = 'manual'": "gradient: invalid enum value 'manual'; known values: automatic, explicit, rules",
    "check_every = -1": "check_every: expected int >= 0",
    "check_every = 5\ngradient = 'automatic'": "check_every: the automatic gradient would be held against itself",
    "loop = 'while'": "loop: invalid enum value 'while'; known values: auto, scan, steps",
    "optimizer = 'sgd'": "optimizer: expected a table [optimizer], got str",
    "[optimizer]\nname = 'lion'": "optimizer.name: invalid enum value 'lion'; known values: adam, adamw, momentum, sgd",
    "[optimizer]\nlearning_rate = 'a'": "optimizer.learning_rate: expected float, got str",
    "[optimizer]\nlearning_rate = -0.1": "optimizer.learning_rate: expected float > 0.0",
    "[optimizer]\nlearning_rate = nan": "optimizer.learning_rate: expected float > 0.0",
    "[optimizer]\nlearning_rate = inf": "optimizer.learning_rate: expected float <= 1000000.0",
    "[optimizer]\nmomentum = 0.5": "optimizer.momentum: a setting of 'momentum' alone, not of optimizer.name = 'sgd'",
    "[optimizer]\nweight_decay = 0.1": "optimizer.weight_decay: a setting of 'adamw' alone, not of optimizer.name =",
    "[optimizer]\nclip_norm = 0": "optimizer.clip_norm: expected float > 0.0",
    "[optimizer]\nwarmup = -1": "optimizer.warmup: expected float >= 0.0",
    "[optimizer]\ndecay_over = 5": "optimizer.decay_over: a setting of optimizer.schedule = 'cosine' alone",
    "[optimizer]\ndecay_to = 0.1": "optimizer.decay_to: a setting of optimizer.schedule = 'cosine' alone",
    "[optimizer]\nschedule = 'cosine'\nwarmup = 5\ndecay_over = 5": "optimizer.warmup: 5 is not less than optimizer.d",
    "[optimizer]\nunit = 'steps'\nwarmup = 0.5": "optimizer.warmup: a whole number of steps, got 0.5",
    "[l2]\nform = 'cs229'": "l2.strength: 0 with l2.form = 'cs229'; set both or neither",
    "[l2]\nstrength = 0.1": "l2.strength: 0.1 with l2.form = 'none'; set both or neither",
    "[l2]\nform = 'ridge'": "l2.form: invalid enum value 'ridge'; known values: cs229, nielsen, none",
    "batch_size = 30\naccumulate = 4": "accumulate: 30 examples a batch cannot be cut into 4 equal parts",
    "accumulate = 0": "accumulate: expected int >= 1",
    "dtype = 'float16'": "dtype: invalid enum value 'float16'; known values: bfloat16, float32",
    "[data]\nrows = [5]": "data.rows: expected array of length 2, got 1",
    "[data]\nrows = [5, 5]": "data.rows: the first, 5, is not before the second, 5",
    "[data]\nnormalise = 'both'": "data.normalise: invalid enum value 'both'; known values: none, standard",
    "[network]\ncost = 'hinge'": "network.cost: invalid enum value 'hinge'; known values: cross_entropy, quadratic, s",
    "[network]\nname = 'cnn'\npadding = ['SAME']": "network.padding: one for each of 2 convolutions, got ['SAME']",
    "[network]\npadding = ['SAME']": "network.padding: a setting of 'cnn' alone, not of network.name = 'two_layer'",
    "[network]\nhidden = [8, 'a']": "network.hidden[1]: expected int, got str",
    "[network]\nhidden = [0]": "network.hidden[0]: expected int >= 1",
    "[network]\nhidden = [8, 8]": "network.hidden: two_layer has one hidden layer, got [8, 8]",
    "[network]\npool = 'max'": "network.pool: a setting of 'cnn' alone, not of network.name = 'two_layer'",
    "[network]\nactivation = 'swish'": "network.activation: invalid enum value 'swish'; known values: gelu, leaky_relu",
    "[network]\nhidden = [1000000000000]": "network.hidden[0]: expected int <= 65536",
    "name = '../../escape'": "name: the head of a folder's name, without / and \\, got '../../escape'",
    "name = ''": "name: the head of a folder's name",
    'name = "a\\nb"': "name: control character '\\n' in 'a\\nb'",
    'runs = "a\\u0000"': "runs: control character '\\x00' in 'a\\x00'",
    '[data]\ndir = "a\\u0000"': "data.dir: control character '\\x00' in 'a\\x00'",
    "[data]\nname = 'imagenet'": "data.name: invalid enum value 'imagenet'",
    "epochs = ": "not TOML",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_file_and_key(tmp_path, text):
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        config.read(path)
    assert str(error.value).startswith(f"{path}: {REFUSED[text]}")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        config.read(tmp_path / "none.toml")


def test_a_file_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml: not TOML"):
        config.read(path)


def test_keys_that_are_not_given_keep_their_defaults(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("epochs = 7\n[optimizer]\nlearning_rate = 1\n")
    assert config.read(path) == Config(epochs=7, optimizer=Optimizer(learning_rate=1.0))


def test_the_written_configuration_reads_back_the_same(tmp_path):
    network = Network(name="cnn", hidden=(), channels=(8, 16), padding=("SAME", "VALID"), pool="avg", cost="quadratic")
    written = Config(
        network=network,
        data=Data(rows=(5, 50), permutation=3, normalise="standard"),
        optimizer=Optimizer(name="momentum", momentum=0.5, schedule="cosine", warmup=2, clip_norm=1.0),
        l2=L2(form="nielsen", strength=5.0),
        runs='r😀"\\ näme',
    )
    run.save_config(tmp_path, written)
    assert config.read(tmp_path / "config.toml") == written


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        Config().epochs = 3  # type: ignore


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("configs/*.toml")), ids=lambda path: path.stem)
def test_the_configurations_of_the_repository(path):
    config.read(path)
    header = path.read_text().partition("\n\n")[0]
    assert f"jbackprop train configs/{path.name}" in header
    assert "Expect" in header
