"""One run from its configuration to its folder: data, training, and what comes after it."""

from contextlib import ExitStack
from pathlib import Path

import jax
from rich.console import Console

from jbackprop.training import data, distributed, finish, interrupt, nan_source, resume, run
from jbackprop.training import trainer as trainers
from jbackprop.training.config import Config
from jbackprop.training.data import Dataset
from jbackprop.training.display import display
from jbackprop.training.finish import Result
from jbackprop.training.interrupt import Stop, never
from jbackprop.training.loop import TrainingError, fit
from jbackprop.training.record import Record
from jbackprop.training.trainer import Trainer


def train(
    config: Config,
    console: Console,
    stop: Stop = never,
    resumed: Path | None = None,
    command: str | None = None,
) -> Result:
    """Trains as configured, shows the progress on the console, and returns what was made.

    `resumed` is the folder of an earlier run of the same configuration, which goes on bit for bit from its last
    checkpoint. Where `stop()` becomes true, training ends after some steps with a checkpoint, and the folder lacks what
    comes after training. Before the first step KeyboardInterrupt or `Terminated` is raised, and there is no folder yet.
    `command` is what was given on the command line, for the summary.
    Raises `ConfigError`, `DataError` and `RunError` before the training starts, `RunError` also where the folder can no
    longer be written.
    """
    with ExitStack() as held:
        if resumed:
            held.enter_context(distributed.locked(resumed))
        dataset = data.load(config.data)
        _go_on(stop)
        trainer = trainers.build(config, dataset)
        _go_on(stop)
        made = resume.made(config, trainer, dataset)
        earlier = resume.position(resumed, trainer, config, made) if resumed else None
        name = config.name or config.network.name
        shared = resumed or distributed.shared_folder(lambda: run.new_folder(Path(config.runs), name))
        if not resumed:
            held.enter_context(distributed.locked(shared))
        held.enter_context(run.writable(shared))
        held.enter_context(distributed.watched(shared))
        folder = held.enter_context(distributed.own_folder(shared))
        finish.unfinish(folder)
        run.save_config(folder, config)
        _announce(console, config, dataset, trainer)
        record = Record(folder, config, made, earlier, shared)
        if earlier:
            _say(console, f"going on {_done(record, config)}")
        ended = _fit(config, dataset, trainer, record, console, stop)
        return finish.finish(config, dataset, trainer, record, ended, stop, command)


def _go_on(stop: Stop) -> None:
    if stop():
        raise interrupt.at_once(stop)


def _announce(console: Console, config: Config, dataset: Dataset, trainer: Trainer) -> None:
    params = jax.eval_shape(trainer.model.init, jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    every = f"\nits gradient is held against the automatic one every {config.check_every:,} steps"
    several = f"\n{trainer.seeds} seeds, {config.seed} to {config.seed + trainer.seeds - 1}, trained {trainer.together}"
    _say(
        console,
        f"{config.network.name} with {count:,} parameters on {config.data.name}: "
        f"{dataset.train.labels.size:,} training and {dataset.test.labels.size:,} test images\n"
        f"loss: {trainer.model.objective}\n"
        f"gradient {config.gradient}, {config.optimizer.name} with learning rate {config.optimizer.learning_rate:g}, "
        f"batches of {config.batch_size}, an epoch by {trainer.loop}{_asked(config.loop)} on {jax.default_backend()}, "
        f"compiler options {trainer.compiler}{_asked(config.compiler)} (compiled in {trainer.compile_seconds:.1f} s)"
        f"{every if trainer.checked else ''}"
        f"{several if trainer.seeds > 1 else ''}{_devices(config) if trainer.layout else ''}",
    )


def _asked(setting: str) -> str:
    return "" if setting == "auto" else ", as asked"


def _devices(config: Config) -> str:
    mesh, count = config.mesh, distributed.processes()
    pieces = ", parameters in pieces" if mesh.fsdp else ""
    return f"\non {mesh.data} x {mesh.model} devices (data x model){pieces}" + (
        f", {count} processes" if count > 1 else ""
    )


def _say(console: Console, words: str) -> None:
    console.print(words, soft_wrap=True, highlight=False)


def _fit(
    config: Config, dataset: Dataset, trainer: Trainer, record: Record, console: Console, stop: Stop
) -> str | None:
    """Trains, and returns why it ended early, None where it did not. A stop leaves a checkpoint."""
    try:
        with display(console, config.epochs, len(record.metrics)) as show:
            for progress in fit(trainer, dataset, config.seed, config.epochs, stop, record.position):
                record.add(progress)
                if progress.metrics:
                    show(progress.metrics)
    except TrainingError as error:
        return _explained(config, dataset, trainer, record, error)
    finally:
        record.close()
    if len(record.metrics) == config.epochs:
        return None
    record.save()
    return f"stopped by {interrupt.name(stop)} {_done(record, config)}"


def _explained(config: Config, dataset: Dataset, trainer: Trainer, record: Record, error: TrainingError) -> str:
    """Returns the error with the rule where it began. The run keeps its last good checkpoint."""
    if not error.epoch:
        return str(error)
    good = record.last_good(trainer, config.seed)
    return f"{error}\n{nan_source.explain(trainer, dataset, good, error)}"


def _done(record: Record, config: Config) -> str:
    """The epochs that are complete, with the steps of the next one."""
    steps = len(record.position.losses) if record.position else 0
    return f"after {len(record.metrics)} of {config.epochs} epochs" + (f" and {steps} steps" if steps else "")
