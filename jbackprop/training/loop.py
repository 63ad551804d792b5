"""The training loop: epoch after epoch, one row of metrics each, from wherever a run stands."""

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jbackprop.training.check import Checks, checked_rows
from jbackprop.training.data import Dataset
from jbackprop.training.interrupt import Stop, never
from jbackprop.training.seeds import of_seed
from jbackprop.training.state import are_finite
from jbackprop.training.trainer import Trainer

ADVICE = "try a smaller optimizer.learning_rate"


class TrainingError(Exception):
    """Training cannot go on. The message says where it stopped and why.

    `epoch` is the one at hand, and `step_in_epoch` the step, counted from 0, whose loss is not finite or whose update
    breaks the parameters; an `epoch` of 0 is no step's fault.
    """

    def __init__(self, message: str, epoch: int = 0, step_in_epoch: int = 0) -> None:
        super().__init__(message)
        self.epoch, self.step_in_epoch = epoch, step_in_epoch


class Metrics(NamedTuple):
    """One row: the mean loss of the epoch's steps, both splits evaluated after it, and the time its steps took.

    `gradient_disagreement` is the largest of the epoch's checks by parameter, None where there were none. `seed` is
    that of the row where a run has several, else None.
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
    seed: int | None = None


class Position(NamedTuple):
    """Where a run stands: `epoch` epochs are complete, `losses` and `rows` are of the next one's steps so far.

    The order of the batches is a function of key and epoch: this is the whole state of the iterator over the data.
    """

    state: Any
    key: jax.Array
    epoch: int
    losses: np.ndarray
    rows: np.ndarray
    seconds: float = 0.0


class Progress(NamedTuple):
    """The position after an epoch, the epoch's metrics, None where it was stopped on the way, and its checks if any.

    With several seeds `metrics` are their means and `of_seeds` has one row for each.
    """

    position: Position
    metrics: Metrics | None
    checks: Checks | None = None
    of_seeds: tuple[Metrics, ...] = ()

    @property
    def state(self) -> Any:
        """The state after the last step."""
        return self.position.state


def beginning(trainer: Trainer, seed: int) -> Position:
    """Returns the position before the first step."""
    return Position(*trainer.init(seed), 0, *nothing_yet(trainer))


def nothing_yet(trainer: Trainer) -> tuple[np.ndarray, np.ndarray]:
    """Returns the losses and rows of no steps."""
    losses = (0, trainer.seeds) if trainer.seeds > 1 else (0,)
    return np.zeros(losses, np.float32), np.zeros((0, len(trainer.checked)), np.float32)


def fit(
    trainer: Trainer, dataset: Dataset, seed: int, epochs: int, stop: Stop = never, begin: Position | None = None
) -> Iterator[Progress]:
    """Yields the progress after each epoch, until `stop()` is true; `begin` is where an earlier run stood.

    Raises `TrainingError` where the loss, a parameter or the test loss is no longer finite.
    """
    position = begin or beginning(trainer, seed)
    yield Progress(position, None)
    while position.epoch < epochs:
        position = _further(trainer, position, stop)
        state, key, done, losses, rows, seconds = position
        finite = bool(np.isfinite(losses).all())
        if finite and len(losses) < trainer.steps:
            yield Progress(position, None, _checks(trainer, state, rows))
            _check_params(state, done + 1, losses)
            return
        checks, of_seeds = _checks(trainer, state, rows), ()
        if trainer.seeds > 1:
            of_seeds = _of_seeds(done + 1, position, trainer, dataset, seed)
            metrics = mean(of_seeds)
        else:
            metrics = _metrics(done + 1, losses, seconds, trainer, state, dataset)
            metrics = metrics._replace(gradient_disagreement=_largest(trainer, checks))
        position = Position(state, key, done + 1, *nothing_yet(trainer))
        yield Progress(position, metrics, checks, of_seeds)
        if not finite:
            raise _not_finite(state, done + 1, losses)
        _check_params(state, done + 1, losses)
        if not math.isfinite(metrics.test_loss):
            raise TrainingError(f"the test loss is {metrics.test_loss} after epoch {metrics.epoch}: {ADVICE}")
        if stop():
            return


def _further(trainer: Trainer, position: Position, stop: Stop) -> Position:
    """Returns the position at the end of the epoch at hand, or where it was stopped."""
    state, key, done, losses, rows, seconds = position
    began = time.perf_counter()
    state, new_losses, new_rows = trainer.epoch(state, key, done + 1, stop, first=len(losses))
    seconds += time.perf_counter() - began
    if len(new_losses):
        losses, rows = np.concatenate([losses, new_losses]), np.concatenate([rows, new_rows])
    return Position(state, key, done, losses, rows, seconds)


def _not_finite(state: Any, epoch: int, losses: np.ndarray) -> TrainingError:
    finite = np.isfinite(losses).reshape(len(losses), -1).all(axis=1)
    first = int(np.argmin(finite))
    step = int(np.max(np.asarray(state.step))) - len(losses) + first + 1
    found = np.ravel(losses[first])
    message = f"the loss is {found[~np.isfinite(found)][0]} at step {step} (epoch {epoch})"
    return TrainingError(f"{message}: {ADVICE}", epoch, first)


def _check_params(state: Any, epoch: int, losses: np.ndarray) -> None:
    if not are_finite(state.params):
        step = int(np.max(np.asarray(state.step)))
        message = f"the parameters are not finite after step {step} (epoch {epoch})"
        raise TrainingError(f"{message}: {ADVICE}", epoch, len(losses) - 1)


def _checks(trainer: Trainer, state: Any, rows: np.ndarray) -> Checks | None:
    checks = checked_rows(int(state.step) - len(rows) + 1, rows) if trainer.checked else None
    return checks if checks and len(checks.steps) else None


def _largest(trainer: Trainer, checks: Checks | None) -> dict[str, float] | None:
    if checks is None:
        return None
    worst = checks.disagreement.max(axis=0).tolist()
    return dict(zip((parameter.path for parameter in trainer.checked), worst, strict=True))


def _metrics(epoch: int, losses: np.ndarray, seconds: float, trainer: Trainer, state: Any, dataset: Dataset) -> Metrics:
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


def _of_seeds(epoch: int, position: Position, trainer: Trainer, dataset: Dataset, seed: int) -> tuple[Metrics, ...]:
    """Returns the row of each seed. Seconds are those of all together."""
    state, losses, seconds = position.state, position.losses, position.seconds
    return tuple(
        _metrics(epoch, losses[:, i], seconds, trainer, of_seed(state, i), dataset)._replace(seed=(seed + i) % 2**32)
        for i in range(trainer.seeds)
    )


def mean(rows: tuple[Metrics, ...]) -> Metrics:
    """Returns the means over the seeds; samples a second are those of all together."""
    figures = ("loss", "train_accuracy", "test_loss", "test_accuracy")
    means = {name: float(np.mean([getattr(row, name) for row in rows])) for name in figures}
    return rows[0]._replace(**means, samples_per_second=sum(row.samples_per_second for row in rows), seed=None)
