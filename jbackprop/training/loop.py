"""The training loop: epoch after epoch, one row of metrics each."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jbackprop.training.check import Checks, checked_rows
from jbackprop.training.data import Dataset
from jbackprop.training.interrupt import Stop, never
from jbackprop.training.state import State
from jbackprop.training.trainer import Trainer


class TrainingError(Exception):
    """Training cannot go on. The message says where it stopped and why."""


class Metrics(NamedTuple):
    """One row: the mean loss of the epoch's steps, both splits evaluated after it, and the time its steps took.

    `gradient_disagreement` is the largest of the epoch's checks by parameter, None where there were none.
    """

    epoch: int
    step: int
    loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    samples_per_second: float
    gradient_disagreement: dict[str, float] | None = None


class Progress(NamedTuple):
    """The state after an epoch, the epoch's metrics, None where it was stopped on the way, and its checks if any."""

    state: State
    metrics: Metrics | None
    checks: Checks | None = None


def fit(trainer: Trainer, dataset: Dataset, seed: int, epochs: int, stop: Stop = never) -> Iterator[Progress]:
    """Yields the progress after each epoch, until `stop()` is true.

    Raises `TrainingError` where the loss is no longer finite.
    """
    state, key = trainer.init(seed)
    yield Progress(state, None)
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        state, losses, rows = trainer.epoch(state, key, epoch, stop)
        seconds = time.perf_counter() - start
        checks = _checks(trainer, state, rows)
        if len(losses) < trainer.steps:
            yield Progress(state, None, checks)
            return
        metrics = _metrics(epoch, losses, seconds, trainer, state, dataset)
        yield Progress(state, metrics._replace(gradient_disagreement=_largest(trainer, checks)), checks)
        if not np.isfinite(losses).all():
            step = int(state.step) - len(losses) + int(np.argmin(np.isfinite(losses))) + 1
            raise TrainingError(
                f"the loss is {losses[~np.isfinite(losses)][0]} at step {step} (epoch {epoch}): "
                f"try a smaller optimizer.learning_rate"
            )
        if stop():
            return


def _checks(trainer: Trainer, state: State, rows: np.ndarray) -> Checks | None:
    checks = checked_rows(int(state.step) - len(rows) + 1, rows) if trainer.checked else None
    return checks if checks and len(checks.steps) else None


def _largest(trainer: Trainer, checks: Checks | None) -> dict[str, float] | None:
    if checks is None:
        return None
    worst = checks.disagreement.max(axis=0).tolist()
    return dict(zip((parameter.path for parameter in trainer.checked), worst, strict=True))


def _metrics(
    epoch: int, losses: np.ndarray, seconds: float, trainer: Trainer, state: State, dataset: Dataset
) -> Metrics:
    train = trainer.evaluate(state.params, dataset.train)
    test = trainer.evaluate(state.params, dataset.test)
    return Metrics(
        epoch=epoch,
        step=int(state.step),
        loss=float(np.mean(losses)),
        train_accuracy=train.accuracy,
        test_loss=test.loss,
        test_accuracy=test.accuracy,
        seconds=seconds,
        samples_per_second=len(losses) * trainer.batch_size / seconds,
    )
