"""What comes after training: parameters, certificate, summary, plots, and the three gradients side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from matplotlib.figure import Figure

from jbackprop import whole_file
from jbackprop.training import agreement, interrupt, objective, plots, run, summary_json
from jbackprop.training import mesh as meshes
from jbackprop.training.certificate import Certificate, certify, save_certificate
from jbackprop.training.config import Config
from jbackprop.training.data import Dataset
from jbackprop.training.evaluate import probabilities
from jbackprop.training.interrupt import Stop
from jbackprop.training.loop import Metrics
from jbackprop.training.record import Record
from jbackprop.training.seeds import of_seed
from jbackprop.training.split import taken
from jbackprop.training.trainer import Trainer
from jbackprop.verify.gradients import GradientComparison, compare_gradients

AGREEMENT = "gradient_agreement.png"
# the summary first: without it no run counts as finished
AT_THE_END = (
    summary_json.FILE,
    "params.npz",
    "certificate.json",
    "curves.png",
    "gradient_check.png",
    AGREEMENT,
    "predictions.png",
    "first_layer.png",
)


class Result(NamedTuple):
    """What a run leaves. `ended` says why it ended early, None where it did not; `gradients` is None where it did.

    `certificate` is None where no step was checked. With several seeds `metrics` are their means, `of_seeds` has the
    rows of each, and `params` are those of the first. `resumable` is whether `jbackprop train --resume` can go on.
    """

    folder: Path
    metrics: list[Metrics]
    of_seeds: list[Metrics]
    params: Any
    test_examples: int
    certificate: Certificate | None
    gradients: GradientComparison | None
    ended: str | None
    interrupted: bool
    resumable: bool


def unfinish(folder: Path) -> None:
    """Removes what `finish` has written, it is not of the run that goes on now, and what a kill left half written."""
    for path in (*(folder / name for name in AT_THE_END), *folder.glob(".partial-*")):
        path.unlink(missing_ok=True)


def finish(
    config: Config,
    dataset: Dataset,
    trainer: Trainer,
    record: Record,
    ended: str | None,
    stop: Stop,
    command: str | None = None,
) -> Result:
    """Writes the files that a complete training leaves, and those of one that ended early as far as they go.

    After SIGTERM that is only what takes no time.
    """
    folder, state = record.folder, of_seed(record.state, 0) if trainer.seeds > 1 else record.state
    params = meshes.gathered(state.params, trainer.layout)
    run.save_params(folder, params)
    certificate = _certify(config, trainer, record, int(state.step), ended)
    evaluation, gradients = None, None
    if not interrupt.terminated(stop):
        evaluation = trainer.evaluate(state.params, dataset.test)
        _plot_run(folder, config, trainer, dataset, record.metrics, params)
    if not ended and not stop():
        gradients = _compare(config, dataset, trainer, params)
        if gradients and config.agreement_epochs and not stop():
            _plot_agreement(folder, config, dataset, trainer, gradients, stop)
    if stop() and not ended:
        ended = _stopped_late(folder, config, gradients, stop)
    rows = record.metrics, record.of_seeds
    summary_json.save(folder, config, dataset, trainer, *rows, evaluation, gradients, ended, command)
    return Result(folder, *rows, params, dataset.test.labels.size, certificate, gradients, ended, stop(), record.saved)


def _certify(config: Config, trainer: Trainer, record: Record, steps: int, ended: str | None) -> Certificate | None:
    checks = record.all_checks
    if checks is None:
        return None
    certificate = certify(config.gradient, config.check_every, steps, trainer.checked, checks)
    save_certificate(record.folder, certificate, config, ended)
    figure = plots.gradient_check(checks, trainer.checked, config.gradient)
    _save(record.folder, "gradient_check.png", figure)
    return certificate


def _stopped_late(folder: Path, config: Config, gradients: GradientComparison | None, stop: Stop) -> str:
    missing = [] if gradients else ["the comparison of the three gradients"]
    if config.agreement_epochs and not (folder / AGREEMENT).exists():
        missing.append(AGREEMENT)
    return f"stopped by {interrupt.name(stop)} after the last epoch: {' and '.join(missing) or 'nothing'} missing"


def _plot_run(
    folder: Path, config: Config, trainer: Trainer, dataset: Dataset, metrics: Sequence[Metrics], params: Any
) -> None:
    if metrics:
        _save(folder, "curves.png", plots.curves(metrics, penalised=config.l2.form != "none"))
    probs = probabilities(trainer.model, params, dataset.test.images)
    images, labels = np.asarray(dataset.test.images), np.asarray(dataset.test.labels)
    _save(folder, "predictions.png", plots.predictions(images, labels, probs))
    _save(folder, "first_layer.png", plots.first_layer(np.asarray(trainer.model.first_layer(params)), images.shape[1:]))


def _compare(config: Config, dataset: Dataset, trainer: Trainer, params: Any) -> GradientComparison:
    images, y = taken(dataset.train, slice(config.batch_size))  # NumPy's slices compile nothing
    x = trainer.model.prepare(images)
    # in float32 also where the run computes in bfloat16, whose rounding would hide a small mistake
    model = objective.of_run(msgspec.structs.replace(config, dtype="float32"), dataset)
    return compare_gradients(model.loss, model.loss_and_grads, params, x, y)


def _plot_agreement(
    folder: Path, config: Config, dataset: Dataset, trainer: Trainer, gradients: GradientComparison, stop: Stop
) -> None:
    epochs = min(config.agreement_epochs, config.epochs)
    known = trainer if trainer.seeds == 1 else None
    losses = agreement.loss_curves(msgspec.structs.replace(config, seeds=1), dataset, epochs, known, stop)
    if stop():
        return
    leaves = {
        "explicit": {row.path: row.explicit_error for row in gradients.rows},
        "rules": {row.path: row.rules_error for row in gradients.rows},
    }
    _save(folder, AGREEMENT, plots.gradient_agreement(losses, leaves))


def _save(folder: Path, name: str, figure: Figure) -> None:
    whole_file.write(folder / name, lambda path: figure.savefig(path, dpi=130))
