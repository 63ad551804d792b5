"""A run that is stopped goes on bit for bit."""

import time

import numpy as np
import pytest

from jbackprop.training import checkpoint
from jbackprop.training import checkpoint_files as files
from jbackprop.training import config as configs
from jbackprop.training.config import Network

from .resumable import EPOCHS, rows, same_arrays, stop_after, trained


@pytest.mark.parametrize(("loop", "calls"), [("scan", 3), ("scan", 9), ("steps", 60)])
def test_what_is_stopped_goes_on_bit_for_bit(config, whole, loop, calls):
    if loop == "steps":
        whole = trained(config, loop=loop)
    stopped = trained(config, stop_after(calls), loop=loop)
    assert stopped.ended
    assert stopped.ended.startswith("stopped by Ctrl-C")
    resumed = trained(config, resumed=stopped.folder, loop=loop)
    assert resumed.ended is None
    assert rows(resumed.folder) == rows(whole.folder)
    assert same_arrays(resumed.folder, whole.folder)
    assert resumed.certificate == whole.certificate


def test_convolutions_go_on_bit_for_bit_with_the_options_that_auto_chose(config):
    cnn = Network(name="cnn", hidden=(), channels=(4,))
    chosen = {"network": cnn, "epochs": 2, "batch_size": 100, "check_every": 0}
    whole, stopped = trained(config, **chosen), trained(config, stop_after(3), **chosen)
    assert files.names(stopped.folder / "checkpoints")[0] == "1"
    resumed = trained(config, resumed=stopped.folder, **chosen)
    assert rows(resumed.folder) == rows(whole.folder)
    assert same_arrays(resumed.folder, whole.folder)


def test_a_stop_in_the_middle_of_an_epoch_keeps_its_steps(config):
    stopped = trained(config, stop_after(9), loop="steps")
    newest = files.names(stopped.folder / "checkpoints")[0]
    assert newest == "0+7"
    assert f"after 0 of {EPOCHS} epochs and 7 steps" in str(stopped.ended)
    assert not (stopped.folder / "metrics.jsonl").exists()


def test_a_longer_run_is_a_short_one_and_the_rest(config, whole):
    short = trained(config, epochs=2)
    longer = trained(config, resumed=short.folder)
    assert rows(longer.folder) == rows(whole.folder)
    assert configs.read(longer.folder / "config.toml").epochs == EPOCHS


def test_the_last_checkpoints_and_the_best_are_kept(whole):
    folder = whole.folder / "checkpoints"
    best = files.best(folder)
    accuracies = [row.test_accuracy for row in whole.metrics]
    assert best
    assert best == {"checkpoint": str(1 + int(np.argmax(accuracies))), "test_accuracy": max(accuracies)}
    assert {path.name for path in folder.iterdir()} == {"4", "5", "6", best["checkpoint"], "best.json"}


def test_an_older_better_checkpoint_outlives_the_last_ones(tmp_path):
    for name in ("1", "2", "3", "3+5", ".partial-4", ".removed-0"):
        (tmp_path / name).mkdir()
    files.mark_best(tmp_path, "1", 0.9)
    files.mark_best(tmp_path, "2", 0.9)
    files.remove_old(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"1", "3+5", "best.json"}


def test_without_checkpoints_a_run_starts_again(config, whole):
    stopped = trained(config, stop_after(9), checkpoint_every=0)
    assert not (stopped.folder / "checkpoints").exists()
    assert not stopped.resumable
    assert rows(trained(config, resumed=stopped.folder).folder) == rows(whole.folder)


def test_checkpoints_take_a_small_share_of_the_time(tmp_path):
    writer = checkpoint.Writer(tmp_path, every=2, keep=1, share=0.05)
    assert [writer.due(epoch, last=False) for epoch in (1, 2, 3)] == [False, True, False]
    writer._took, writer._done = 1000.0, time.perf_counter()
    assert not writer.due(2, last=False)
    assert writer.due(2, last=True)
