"""`summary.json`: what a run came to, in one object."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from jbackprop import whole_file
from jbackprop.json_numbers import with_null
from jbackprop.training.config import Config
from jbackprop.training.data import Dataset
from jbackprop.training.environment import device, versions
from jbackprop.training.evaluate import Evaluation
from jbackprop.training.loop import Metrics
from jbackprop.training.trainer import Trainer
from jbackprop.verify.gradients import ERRORS, GradientComparison

FILE = "summary.json"


def save(
    folder: Path,
    config: Config,
    dataset: Dataset,
    trainer: Trainer,
    metrics: Sequence[Metrics],
    of_seeds: Sequence[Metrics],
    evaluation: Evaluation | None,
    gradients: GradientComparison | None,
    ended: str | None,
    command: str | None,
) -> None:
    """Writes the object whole or not at all. What there is no number for, NaN and infinity among it, is null.

    `pixels` has what the inputs are taken less and divided by. With several seeds the accuracies and the test loss are
    their means; `of_seed` is the one that the confusion matrix and the accuracy of each class are of.
    """
    best = max(metrics, key=lambda row: row.test_accuracy, default=None)
    last = metrics[-1] if metrics else None
    found = {
        "command": command,
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": versions(),
        "device": device(),
        "network": config.network.name,
        "data": config.data.name,
        "pixels": {"mean": dataset.mean, "std": dataset.std},
        "test_accuracy": last and last.test_accuracy,
        "test_loss": last and last.test_loss,
        "test_examples": evaluation and evaluation.examples,
        "of_seed": config.seed if trainer.seeds > 1 else None,
        "confusion": None if evaluation is None else evaluation.confusion.tolist(),
        "per_class_accuracy": None if evaluation is None else evaluation.per_class_accuracy.tolist(),
        "epochs": len(metrics),
        "seconds": sum(row.seconds for row in metrics),
        "best_epoch": best and best.epoch,
        "best_test_accuracy": best and best.test_accuracy,
        "compile_seconds": trainer.compile_seconds,
        "loop": trainer.loop,
        "compiler": trainer.compiler,
        "gradient_agreement": gradients and _agreement(gradients),
        "seeds": of_several(of_seeds, trainer.seeds),
        "ended": ended,
    }
    text = json.dumps(with_null(found), indent=1, allow_nan=False) + "\n"
    whole_file.write(folder / FILE, lambda path: path.write_text(text, encoding="utf-8"))


def of_several(rows: Sequence[Metrics], seeds: int) -> dict[str, Any] | None:
    """Returns the test accuracies after the last epoch, their mean and standard deviation; None for one seed."""
    if seeds == 1 or not rows:
        return None
    accuracies = [row.test_accuracy for row in rows[-seeds:]]
    return {
        "test_accuracy": accuracies,
        "mean": float(np.mean(accuracies)),
        "standard_deviation": float(np.std(accuracies, ddof=1)),
    }


def complete(folder: Path, epochs: int) -> bool:
    """Whether the run in this folder came to its end after so many epochs."""
    try:
        kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return kept["ended"] is None and kept["epochs"] == epochs
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _agreement(gradients: GradientComparison) -> dict[str, Any]:
    rows = {row.path: {name: getattr(row, name) for name in ERRORS} for row in gradients.rows}
    worst = {name: getattr(gradients.worst, name) for name in ERRORS}
    return {"agree": gradients.agree, "worst": worst, "parameters": rows}
