"""The check of the gradient inside the training step, and the certificate that it leaves."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jbackprop.commands import train as command
from jbackprop.networks import two_layer
from jbackprop.training import certificate as certificates
from jbackprop.training import finish, run, trainer
from jbackprop.training.check import Checks, Parameter, checked_rows, disagreement
from jbackprop.training.config import Config, Network, Optimizer
from jbackprop.training.interrupt import never
from jbackprop.training.loop import fit
from jbackprop.training.state import State
from jbackprop.training.step import shuffled_batches

CONFIG = Config(network=Network(hidden=(16,)), optimizer=Optimizer(learning_rate=0.5), batch_size=20, loop="scan")
BOUND = 1e-5
PARAMETERS = (Parameter("b", (3,), "float32", BOUND), Parameter("w", (2, 3), "float32", BOUND))


def with_fields(**fields) -> Config:
    return Config(**{name: getattr(CONFIG, name) for name in CONFIG.__struct_fields__} | fields)


def refuse(constant):
    raise AssertionError(constant)


@pytest.fixture
def lowered(monkeypatch):
    """Returns the function that gives the text of the program that a configuration would compile."""
    texts = []
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda lowered: texts.append(lowered.as_text()))

    def text(config, dataset):
        trainer.build(config, dataset)
        return texts.pop()

    return text


def test_without_the_option_the_program_is_the_plain_one(lowered, small):
    tx = optax.sgd(0.5)

    def step(state, rows):
        images = jnp.take(split.images, rows, axis=0, mode="clip")
        labels = jnp.take(split.labels, rows, axis=0, mode="clip")
        x = images.astype(jnp.float32) / 16.0
        loss, grads = two_layer.loss_and_grads(state.params, x.reshape(len(x), -1), labels)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        return State(optax.apply_updates(state.params, updates), opt_state, state.step + 1), loss

    def part(state, given, batches, bounds, logged):
        nonlocal split
        split = given

        def one(i, carry):
            state, loss = step(carry[0], batches[i])
            return state, carry[1].at[i].set(loss)

        return jax.lax.fori_loop(bounds[0], bounds[1], one, (state, logged))

    split = small.train
    params = two_layer.init(jax.random.key(0), (64, 16, 10))
    state = State(params, tx.init(params), jnp.int32(0))
    batches = shuffled_batches(jax.random.key(0), jnp.int32(0), 203, 20)
    more = np.zeros(2, np.int32), np.zeros(10, np.float32)
    plain = jax.jit(part, donate_argnums=0).lower(state, split, batches, *more).as_text()
    assert lowered(CONFIG, small) == plain
    assert "stablehlo.case" not in plain


@pytest.mark.parametrize("loop", ["scan", "steps"])
def test_with_the_option_the_automatic_gradient_is_inside_a_condition_alone(lowered, small, loop):
    off, on = (lowered(with_fields(loop=loop, check_every=every), small) for every in (0, 5))
    assert off.count("stablehlo.case") == 0
    assert on.count("stablehlo.case") == 1
    before, condition = on.split("stablehlo.case")
    outside = before.count("stablehlo.dot_general")
    assert outside <= off.count("stablehlo.dot_general") < outside + condition.count("stablehlo.dot_general")


def test_each_kth_step_is_checked_and_training_is_the_same(built):
    losses, rows, chosen = {}, {}, {every: built(with_fields(check_every=every)) for every in (0, 7)}
    for every in chosen:
        state, key = chosen[every].init(0)
        _, losses[every], rows[every] = chosen[every].epoch(state, key, 1, never)
    np.testing.assert_allclose(losses[0], losses[7], rtol=1e-6)
    assert chosen[0].checked == ()
    assert [parameter.path for parameter in chosen[7].checked] == ["b1", "b2", "w1", "w2"]
    assert rows[0].shape == (10, 0)
    steps, found = checked_rows(1, rows[7])
    assert steps.tolist() == [1, 8]
    assert found.shape == (2, 4)
    assert 0 < found.max() < 1e-6


def test_the_loop_counts_the_steps_over_the_epochs(small, built):
    progress = list(fit(built(with_fields(check_every=7)), small, seed=0, epochs=2))
    found = [(row.metrics, row.checks) for row in progress if row.metrics and row.checks]
    assert [checks.steps.tolist() for _, checks in found] == [[1, 8], [15]]
    for metrics, checks in found:
        worst = checks.disagreement.max(axis=0).tolist()
        assert metrics.gradient_disagreement == dict(zip(["b1", "b2", "w1", "w2"], worst, strict=True))


@pytest.mark.parametrize("gradient", ["explicit", "rules"])
def test_a_wrong_rule_is_caught_and_its_parameters_are_named(small, monkeypatch, gradient):
    def wrong_bwd(residuals, da):
        return (da * residuals.a,)  # a for a (1 - a)

    @jax.custom_vjp
    def wrong(z):
        return two_layer.sigmoid_fwd(z)[0]

    wrong.defvjp(two_layer.sigmoid_fwd, wrong_bwd)
    monkeypatch.setattr(two_layer, *(("sigmoid_bwd", wrong_bwd) if gradient == "explicit" else ("sigmoid", wrong)))
    chosen = trainer.build(with_fields(gradient=gradient, check_every=4), small)
    state, key = chosen.init(0)
    _, _, rows = chosen.epoch(state, key, 1, never)
    found = certificates.certify(gradient, 4, 10, chosen.checked, checked_rows(1, rows))
    assert not found.agree
    assert {finding.parameter.path for finding in found.findings if not finding.ok} == {"b1", "w1"}
    assert (found.steps, found.checked) == (10, 3)
    assert f"WRONG: during training {gradient} is not the automatic gradient" in str(found)
    assert "  w1: " in str(found)


def test_a_gradient_that_goes_wrong_on_the_way_fails_the_run(data_folder, tmp_path, monkeypatch, capsys):
    right = two_layer.loss_and_grads

    def wrong_later(params, x, y, **options):
        loss, grads = right(params, x, y, **options)
        return loss, grads | {"b2": jnp.where(jnp.abs(params["b2"]).max() > 0.05, 2 * grads["b2"], grads["b2"])}

    monkeypatch.setattr(two_layer, "loss_and_grads", wrong_later)
    monkeypatch.setattr(finish, "_plot_run", lambda *arguments: None)
    monkeypatch.setattr(finish, "_compare", lambda *arguments: None)  # the comparison after training would fail too
    path = tmp_path / "my.toml"
    path.write_text(f"epochs = 1\nruns = '{tmp_path}/runs'\n[network]\nhidden = [8]\n[data]\ndir = '{data_folder}'")
    assert command.main([str(path), "--check-every", "3"]) == 1
    printed = capsys.readouterr().out
    assert "gradient disagreement at most 1.0e+00" in printed
    assert "WRONG: during training explicit is not the automatic gradient\n  b2: 1.0e+00 at step " in printed
    (folder,) = (tmp_path / "runs").iterdir()
    written = json.loads((folder / "certificate.json").read_text(), parse_constant=refuse)
    assert written["verdict"] == "wrong"
    assert written["largest"]["parameter"] == "b2"
    assert 1 < written["largest"]["first_step_beyond_bound"] <= written["largest"]["step"] < 42
    assert [name for name, found in written["parameters"].items() if found["verdict"] == "wrong"] == ["b2"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".partial")]


@pytest.mark.parametrize(
    ("grad", "wanted", "found"),
    [
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0, -2.0], [1.0, -4.0], 0.5),
        ([0.0, 1e-30], [0.0, 0.0], np.inf),
        ([np.nan, 1.0], [0.0, 1.0], np.inf),
        ([0.0, 1.0], [np.nan, 1.0], np.inf),
        ([np.nan, 1.0], [np.nan, 1.0], np.inf),
        ([np.inf, 1.0], [np.inf, 1.0], np.inf),
        ([0.0, 1.0], [np.inf, 1.0], np.inf),
        ([], [], 0.0),
    ],
)
def test_disagreement(grad, wanted, found):
    for dtype in (jnp.float32, jnp.bfloat16):
        assert disagreement([jnp.asarray(grad, dtype)], [jnp.asarray(wanted, dtype)]).tolist() == [found]


def test_rows_without_a_check_are_left_out():
    rows = np.array([[-1, -1], [0.0, np.inf], [-1, -1], [1e-7, 2e-7]], np.float32)
    checks = checked_rows(11, rows)
    assert checks.steps.tolist() == [12, 14]
    np.testing.assert_array_equal(checks.disagreement, rows[[1, 3]])


def test_the_first_of_the_largest_is_certified():
    checks = Checks(np.array([1, 6, 11]), np.array([[1e-7, 2e-7], [3e-7, 2e-7], [3e-7, 1e-7]]))
    found = certificates.certify("explicit", 5, 12, PARAMETERS, checks)
    assert [(finding.disagreement, finding.step) for finding in found.findings] == [(3e-7, 6), (2e-7, 1)]
    assert found.agree
    assert str(found) == (
        "gradient disagreement at most 3.0e-07 of max|g| (b at step 6): explicit against automatic in 3 of 12 steps\n"
        "agree: within 1.0e-05, which rounding explains"
    )


def test_no_check_is_no_certificate():
    with pytest.raises(ValueError, match="no step was checked"):
        certificates.certify("explicit", 5, 12, PARAMETERS, Checks(np.zeros(0, int), np.zeros((0, 2))))


def test_an_infinite_disagreement_is_strict_json(tmp_path):
    checks = Checks(np.array([1, 6]), np.array([[1e-7, 2e-7], [np.inf, 2e-7]]))
    found = certificates.certify("rules", 5, 12, PARAMETERS, checks)
    assert "  b: not finite, or not zero where the automatic one is, at step 6; beyond" in str(found)
    run.save_config(tmp_path, CONFIG)
    certificates.save_certificate(tmp_path, found, CONFIG, "stopped by Ctrl-C after 1 of 2 epochs")
    written = json.loads((tmp_path / "certificate.json").read_text(), parse_constant=refuse)
    assert written["largest"]["disagreement"] == "inf"
    assert (written["verdict"], written["gradient"], written["ended"]) == (
        "wrong",
        "rules",
        "stopped by Ctrl-C after 1 of 2 epochs",
    )
    assert written["parameters"]["w"] == {
        "disagreement": 2e-7,
        "step": 1,
        "bound": BOUND,
        "first_step_beyond_bound": None,
        "shape": [2, 3],
        "dtype": "float32",
        "verdict": "agree",
    }
    assert written["versions"]["jax"] == jax.__version__
