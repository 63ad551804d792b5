"""The training loop: epoch after epoch, one row of metrics each."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jbackprop.training.data import Dataset
from jbackprop.training.interrupt import Stop, never
from jbackprop.training.state import State
from jbackprop.training.trainer import Trainer


class TrainingError(Exception):
    """Training cannot go on. The message says where it stopped and why."""


class Metrics(NamedTuple):
    """One row: the mean loss of the epoch's steps, both splits evaluated after it, and the time its steps took."""

    epoch: int
    step: int
    loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float
    samples_per_second: float


class Progress(NamedTuple):
    """The state after an epoch, and the epoch's metrics; None where it was stopped on the way."""

    state: State
    metrics: Metrics | None


def fit(trainer: Trainer, dataset: Dataset, seed: int, epochs: int, stop: Stop = never) -> Iterator[Progress]:
    """Yields the progress after each epoch, until `stop()` is true.

    Raises `TrainingError` where the loss is no longer finite.
    """
    state, key = trainer.init(seed)
    yield Progress(state, None)
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        state, losses = trainer.epoch(state, key, epoch, stop)
        seconds = time.perf_counter() - start
        if len(losses) < trainer.steps:
            yield Progress(state, None)
            return
        metrics = _metrics(epoch, losses, seconds, trainer, state, dataset)
        yield Progress(state, metrics)
        if not np.isfinite(losses).all():
            step = int(state.step) - len(losses) + int(np.argmin(np.isfinite(losses))) + 1
            raise TrainingError(
                f"the loss is {losses[~np.isfinite(losses)][0]} at step {step} (epoch {epoch}): "
                f"try a smaller optimizer.learning_rate"
            )
        if stop():
            return


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
