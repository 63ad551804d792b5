"""What a run leaves while it trains: its rows of metrics, TensorBoard's events, and checkpoints."""

import importlib.util
import math
from pathlib import Path
from typing import Any

from jbackprop.training import run
from jbackprop.training.check import Checks, joined
from jbackprop.training.checkpoint import Checkpoint, Writer, newest
from jbackprop.training.config import Config
from jbackprop.training.loop import Metrics, Position, Progress, beginning
from jbackprop.training.state import are_finite
from jbackprop.training.trainer import Trainer

EVENTS = ("loss", "train_accuracy", "test_loss", "test_accuracy", "samples_per_second")


class Record:
    """The run so far: `position`, `metrics`, with several seeds also `of_seeds`, `checks`; in memory and in its folder.

    `earlier` is the checkpoint that the run continues from; `shared` is where all processes write theirs.
    """

    def __init__(
        self, folder: Path, config: Config, made: dict[str, Any], earlier: Checkpoint | None, shared: Path
    ) -> None:
        self.folder, self.shared, self.made = folder, shared, made
        self.position: Position | None = earlier.position if earlier else None
        self.metrics: list[Metrics] = list(earlier.metrics) if earlier else []
        self.of_seeds: list[Metrics] = list(earlier.of_seeds) if earlier else []
        self.checks: Checks | None = earlier.checks if earlier else None  # of complete epochs
        self._of_steps: Checks | None = None
        self._epochs = config.epochs
        self._writer = Writer(shared, config.checkpoint_every, config.keep_checkpoints)
        self._events = _events(folder, len(self.metrics))
        self._unsaved = False
        if earlier:
            run.save_metrics(folder, self.of_seeds or self.metrics)

    @property
    def state(self) -> Any:
        """The state after the last step."""
        assert self.position is not None
        return self.position.state

    @property
    def all_checks(self) -> Checks | None:
        """The checks of all steps, those of an epoch that was not completed among them."""
        return _both(self.checks, self._of_steps)

    @property
    def saved(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return bool(self._writer.every)

    def last_good(self, trainer: Trainer, seed: int) -> Position:
        """Returns where the run stood at its last checkpoint, or its beginning."""
        start = beginning(trainer, seed)
        found = newest(self.shared, start)
        return found[1].position if found else start

    def add(self, progress: Progress) -> None:
        """Takes in the progress of an epoch, or of the steps before a stop."""
        taken = self.position is not None and _steps(progress.position) != _steps(self.position)
        self.position, self._unsaved = progress.position, self._unsaved or taken
        if progress.metrics is None:
            self._of_steps = progress.checks
            return
        self.checks = _both(self.checks, progress.checks)
        self.metrics.append(progress.metrics)
        self.of_seeds += progress.of_seeds
        run.append_metrics(self.folder, progress.of_seeds or [progress.metrics])
        for name in EVENTS if self._events else ():
            self._events.add_scalar(name, getattr(progress.metrics, name), progress.metrics.epoch)
        epoch = progress.metrics.epoch
        good = math.isfinite(progress.metrics.loss) and math.isfinite(progress.metrics.test_loss)
        if good and self._writer.due(epoch, epoch == self._epochs):
            self.save()

    def close(self) -> None:
        """Writes what TensorBoard's writer still holds."""
        if self._events:
            self._events.close()

    def save(self) -> None:
        """Writes a checkpoint, unless there is one of this position, the run has none or the parameters are broken."""
        if self.position is None or not self._writer.every or not self._unsaved:
            return
        if not are_finite(self.state.params):
            return
        found = tuple(self.metrics), tuple(self.of_seeds)
        self._writer.write(Checkpoint(self.position, *found, self.checks, self.made))
        self._unsaved = False


def _both(earlier: Checks | None, later: Checks | None) -> Checks | None:
    parts = [part for part in (earlier, later) if part]
    return joined(parts) if parts else None


def _steps(position: Position) -> tuple[int, int]:
    return position.epoch, len(position.losses)


def _events(folder: Path, done: int) -> Any:
    """Returns TensorBoard's writer where it is installed, else None. What it has of later epochs does not count."""
    if importlib.util.find_spec("tensorboardX") is None:
        return None
    from tensorboardX import SummaryWriter  # 0.3 s

    return SummaryWriter(str(folder), purge_step=done + 1)
