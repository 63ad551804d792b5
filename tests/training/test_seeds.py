"""Several seeds in one run are the single runs of each, at once or in turn."""

import io
import json

import jax
import msgspec
import numpy as np
import pytest
from rich.console import Console

from jbackprop.training import finish, seeds
from jbackprop.training import train as trains
from jbackprop.training import trainer as trainers
from jbackprop.training.config import Config, ConfigError, Data, Mesh, Network, Optimizer
from jbackprop.training.loop import fit
from jbackprop.training.summary import summary

CONFIG = Config(network=Network(hidden=(8,)), optimizer=Optimizer(name="adam", learning_rate=0.01), batch_size=20)


@pytest.fixture(scope="module")
def singles(built, small):
    """The rows of three epochs of seeds 5, 6 and 7."""
    return [[p.metrics for p in fit(built(CONFIG), small, seed, 3) if p.metrics] for seed in (5, 6, 7)]


@pytest.mark.parametrize(("together", "loop"), [("at once", "scan"), ("in turn", "scan"), ("in turn", "steps")])
def test_each_seed_is_its_own_run(small, singles, monkeypatch, together, loop):
    monkeypatch.setattr(seeds, "choose", lambda config: together)
    trainer = trainers.build(msgspec.structs.replace(CONFIG, seeds=3, loop=loop), small)
    found = [p for p in fit(trainer, small, 5, 3) if p.metrics]
    for i, rows in enumerate(singles):
        several = [progress.of_seeds[i] for progress in found]
        assert [row.seed for row in several] == [5 + i] * 3
        assert [row.step for row in several] == [row.step for row in rows]
        for key in ("loss", "train_accuracy", "test_loss", "test_accuracy"):
            wanted = [getattr(row, key) for row in rows]
            found_here = [getattr(row, key) for row in several]
            np.testing.assert_allclose(found_here, wanted, rtol=2e-5)
            if loop == "scan" and together == "in turn":
                assert found_here == wanted  # the same program
    for progress in found:
        assert progress.metrics
        np.testing.assert_allclose(
            progress.metrics.test_accuracy, np.mean([row.test_accuracy for row in progress.of_seeds])
        )


def test_the_run_of_several_seeds_goes_on_and_says_mean_and_deviation(data_folder, tmp_path, monkeypatch):
    for name in ("_plot_run", "_save", "_compare"):
        monkeypatch.setattr(finish, name, lambda *arguments: None)
    config = msgspec.structs.replace(
        CONFIG, seeds=3, epochs=3, data=Data(dir=str(data_folder)), agreement_epochs=0, runs=str(tmp_path)
    )
    printed = io.StringIO()
    whole = trains.train(config, Console(file=printed))
    stopped = trains.train(msgspec.structs.replace(config, epochs=1), Console(file=io.StringIO()))
    resumed = trains.train(config, Console(file=io.StringIO()), resumed=stopped.folder)
    assert "3 seeds, 0 to 2, trained in turn" in printed.getvalue() or jax.default_backend() != "cpu"
    rows = [
        [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]
        for result in (whole, resumed)
    ]
    assert [(row["epoch"], row["seed"]) for row in rows[0]] == [
        (epoch, seed) for epoch in (1, 2, 3) for seed in range(3)
    ]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    accuracies = [row["test_accuracy"] for row in rows[0][-3:]]
    written = json.loads((whole.folder / "summary.json").read_text())
    assert written["of_seed"] == 0
    kept = written["seeds"]
    assert kept["test_accuracy"] == accuracies
    np.testing.assert_allclose(
        (kept["mean"], kept["standard_deviation"]), (np.mean(accuracies), np.std(accuracies, ddof=1))
    )
    assert f"test accuracy {np.mean(accuracies):.2%} ± {np.std(accuracies, ddof=1):.2%}" in summary(whole)
    assert len(np.load(whole.folder / "params.npz")["w1"]) == 64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"check_every": 5}, "check_every: a run of 2 seeds has no checks"),
        ({"mesh": Mesh(data=2)}, "seeds: 2 seeds share one device"),
    ],
)
def test_what_several_seeds_cannot_do_is_refused(small, changes, words):
    with pytest.raises(ConfigError, match=words):
        trainers.build(msgspec.structs.replace(CONFIG, seeds=2, **changes), small)
