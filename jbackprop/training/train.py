"""One run from its configuration to its folder: data, training, evaluation, the three gradients, plots."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

from jbackprop.training import agreement, data, plots, run
from jbackprop.training import trainer as trainers
from jbackprop.training.certificate import Certificate, certify, save_certificate
from jbackprop.training.check import Checks, joined
from jbackprop.training.config import Config
from jbackprop.training.data import Dataset
from jbackprop.training.display import display
from jbackprop.training.evaluate import probabilities
from jbackprop.training.interrupt import Stop, never
from jbackprop.training.loop import Metrics, TrainingError, fit
from jbackprop.training.trainer import Trainer
from jbackprop.verify.gradients import GradientComparison, compare_gradients

AGREEMENT = "gradient_agreement.png"


class Result(NamedTuple):
    """What a run leaves. `ended` says why it ended early, None where it did not; `gradients` is None where it did.

    `certificate` is None where no step was checked.
    """

    folder: Path
    metrics: list[Metrics]
    params: Any
    test_examples: int
    certificate: Certificate | None
    gradients: GradientComparison | None
    ended: str | None
    interrupted: bool


class Trained(NamedTuple):
    """What the loop leaves."""

    metrics: list[Metrics]
    checks: list[Checks]
    state: Any
    ended: str | None


def train(config: Config, console: Console, stop: Stop = never) -> Result:
    """Trains as configured, shows the progress on the console, and returns what was made.

    Where `stop()` becomes true, training ends after the step or epoch at hand; the folder then lacks the comparison of
    the gradients alone. Before the first step there is no folder yet, and KeyboardInterrupt is raised.
    Raises `ConfigError`, `DataError` and `RunError` before the training starts.
    """
    dataset = data.load(config.data)
    _go_on(stop)
    trainer = trainers.build(config, dataset)
    _go_on(stop)
    folder = run.new_folder(Path(config.runs), config.name or config.network.name)
    run.save_config(folder, config)
    _announce(console, config, dataset, trainer)
    metrics, checks, state, ended = _fit(config, dataset, trainer, folder, console, stop)
    params = state.params
    run.save_params(folder, params)
    certificate = _certify(config, trainer, folder, joined(checks), int(state.step), ended) if checks else None
    _plot_run(folder, trainer, dataset, metrics, params)
    gradients = None if ended or stop() else _compare(config, dataset, trainer, params)
    if gradients and config.agreement_epochs and not stop():
        _plot_agreement(folder, config, dataset, trainer, gradients, stop)
    interrupted = stop()
    if interrupted and not ended:
        ended = _stopped_late(folder, config, gradients)
    return Result(folder, metrics, params, dataset.test.labels.size, certificate, gradients, ended, interrupted)


def _go_on(stop: Stop) -> None:
    if stop():
        raise KeyboardInterrupt


def _announce(console: Console, config: Config, dataset: Dataset, trainer: Trainer) -> None:
    params = jax.eval_shape(trainer.model.init, jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    every = f"\nits gradient is held against the automatic one every {config.check_every:,} steps"
    console.print(
        f"{config.network.name} with {count:,} parameters on {config.data.name}: "
        f"{dataset.train.labels.size:,} training and {dataset.test.labels.size:,} test images\n"
        f"gradient {config.gradient}, {config.optimizer.name} with learning rate {config.optimizer.learning_rate:g}, "
        f"batches of {config.batch_size}, an epoch by {trainer.loop} on {jax.default_backend()} "
        f"(compiled in {trainer.compile_seconds:.1f} s){every if trainer.checked else ''}",
        soft_wrap=True,
        highlight=False,
    )


def _fit(config: Config, dataset: Dataset, trainer: Trainer, folder: Path, console: Console, stop: Stop) -> Trained:
    metrics: list[Metrics] = []
    checks: list[Checks] = []
    state: Any = None
    try:
        with display(console, config.epochs) as show:
            for progress in fit(trainer, dataset, config.seed, config.epochs, stop):
                state = progress.state
                checks += [progress.checks] if progress.checks else []
                if progress.metrics:
                    metrics.append(progress.metrics)
                    run.append_metrics(folder, progress.metrics)
                    show(progress.metrics)
    except TrainingError as error:
        return Trained(metrics, checks, state, str(error))
    stopped = f"stopped by Ctrl-C after {len(metrics)} of {config.epochs} epochs"
    return Trained(metrics, checks, state, stopped if len(metrics) < config.epochs else None)


def _certify(
    config: Config, trainer: Trainer, folder: Path, checks: Checks, steps: int, ended: str | None
) -> Certificate:
    certificate = certify(config.gradient, config.check_every, steps, trainer.checked, checks)
    save_certificate(folder, certificate, config, ended)
    _save(folder, "gradient_check.png", plots.gradient_check(checks, trainer.checked, config.gradient))
    return certificate


def _stopped_late(folder: Path, config: Config, gradients: GradientComparison | None) -> str:
    missing = [] if gradients else ["the comparison of the three gradients"]
    if config.agreement_epochs and not (folder / AGREEMENT).exists():
        missing.append(AGREEMENT)
    return f"stopped by Ctrl-C after the last epoch: {' and '.join(missing) or 'nothing'} missing"


def _plot_run(folder: Path, trainer: Trainer, dataset: Dataset, metrics: list[Metrics], params: Any) -> None:
    if metrics:
        _save(folder, "curves.png", plots.curves(metrics))
    probs = probabilities(trainer.model, params, dataset.test.images)
    images, labels = np.asarray(dataset.test.images), np.asarray(dataset.test.labels)
    _save(folder, "predictions.png", plots.predictions(images, labels, probs))
    _save(folder, "first_layer.png", plots.first_layer(np.asarray(trainer.model.first_layer(params)), images.shape[1:]))


def _compare(config: Config, dataset: Dataset, trainer: Trainer, params: Any) -> GradientComparison:
    images, labels = map(np.asarray, dataset.train)  # NumPy's slices compile nothing
    x, y = trainer.model.prepare(images[: config.batch_size]), labels[: config.batch_size]
    return compare_gradients(trainer.model.loss, trainer.model.loss_and_grads, params, x, y)


def _plot_agreement(
    folder: Path, config: Config, dataset: Dataset, trainer: Trainer, gradients: GradientComparison, stop: Stop
) -> None:
    losses = agreement.loss_curves(config, dataset, min(config.agreement_epochs, config.epochs), trainer, stop)
    if stop():
        return
    leaves = {
        "explicit": {row.path: row.explicit_error for row in gradients.rows},
        "rules": {row.path: row.rules_error for row in gradients.rows},
    }
    _save(folder, AGREEMENT, plots.gradient_agreement(losses, leaves))


def _save(folder: Path, name: str, figure: Figure) -> None:
    run.write(folder / name, lambda path: figure.savefig(path, dpi=130))
