"""Going on with a run from its folder: what may be another than before, and where the run stands."""

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jbackprop.training import checkpoint, distributed, summary_json
from jbackprop.training import checkpoint_files as files
from jbackprop.training.checkpoint import Checkpoint
from jbackprop.training.config import Config, ConfigError, flat
from jbackprop.training.data import Dataset, Split
from jbackprop.training.environment import device, versions
from jbackprop.training.loop import beginning
from jbackprop.training.run_error import RunError
from jbackprop.training.split import blocks
from jbackprop.training.trainer import Trainer

# what changes nothing in the numbers, or where the same data lies and who computes with it
FREE = (
    "epochs",
    "runs",
    "name",
    "checkpoint_every",
    "keep_checkpoints",
    "agreement_epochs",
    "compiler",  # what was chosen is compared in `computed_with`, of which another one is told
    "data.dir",
    "mesh",
    "distributed",
)


class Finished(Exception):
    """The run has done all it was asked to do. The message says how to ask for more."""


def check(folder: Path, before: Config, config: Config) -> None:
    """Raises `ConfigError` for a setting that the run has otherwise, `Finished` where there is nothing left to do."""
    old, new = flat(before), flat(config)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key) and key not in FREE and key.partition(".")[0] not in FREE:
            raise ConfigError(
                f"{key}: {folder} was trained with {_shown(old.get(key))}, not {_shown(new.get(key))}: "
                f"what is resumed keeps it; another training is another run",
                key,
            )
    if config.epochs != before.epochs and _stretched(config):
        raise ConfigError(
            f"epochs: the learning rate's cosine is stretched over the {before.epochs} epochs of {folder}: "
            f"a run of {config.epochs} is another run, unless both set optimizer.decay_over",
            "epochs",
        )
    done = (files.place(next(iter(files.names(folder / files.FOLDER)), "0")) or (0, 0))[0]
    if config.epochs < done:
        raise ConfigError(f"epochs: {folder} has done {done} epochs already, more than {config.epochs}", "epochs")
    if config.epochs == done and summary_json.complete(folder, done):
        raise Finished(
            f"{folder} has finished its {done} epochs; to go on: jbackprop train --resume {folder} --epochs N"
        )


def position(folder: Path, trainer: Trainer, config: Config, made: dict[str, Any]) -> Checkpoint:
    """Returns where the run stands: its last checkpoint that is whole, else its beginning.

    Warns of damaged checkpoints, which are set aside, and of other versions. Raises `RunError` where the data are not
    those of the run or a checkpoint cannot be loaded; then all checkpoints stay.
    """
    start = beginning(trainer, config.seed)
    found = checkpoint.newest(folder, start)
    if found:
        _check_made(folder, config, found[1].made, made)
    if distributed.writes():  # after all that may be refused
        files.set_aside_after(folder / files.FOLDER, found[0] if found else None)
    return found[1] if found else Checkpoint(start, made=made)


def _check_made(folder: Path, config: Config, before: Mapping[str, Any], made: dict[str, Any]) -> None:
    if others := [split for split, digest in before["data"].items() if digest != made["data"][split]]:
        words = f"the images or labels of {config.data.name}: not as the run was trained"
        raise RunError(f"{folder}: {words}: another {' and another '.join(others)} split")
    for key, words in (("loop", "loop"), ("together", "seeds")):
        if before[key] != made[key]:
            raise RunError(f"{folder}: {words}: not as the run was trained ({before[key]}, here {made[key]})")
    if other := _others(before["computed_with"], made["computed_with"]):
        warnings.warn(f"{folder} was trained with {other}: it goes on, but not bit for bit", stacklevel=3)


def made(config: Config, trainer: Trainer, dataset: Dataset) -> dict[str, Any]:
    """Returns what a run's numbers depend on beside the settings that it must keep."""
    mesh = f"{config.mesh.data} x {config.mesh.model}"
    here = {"device": device(), "devices": jax.device_count(), "mesh": mesh, "compiler options": trainer.compiler}
    return {
        "data": {"training": _digest(dataset.train), "test": _digest(dataset.test)},
        "loop": trainer.loop,
        "together": trainer.together,
        "computed_with": versions() | here,
    }


def _digest(split: Split) -> str:
    """SHA-256 of all images and labels, each record read once."""
    digest, labels = hashlib.sha256(str(split.images.shape).encode()), []
    for block in blocks(split):
        digest.update(np.ascontiguousarray(block.images).data)
        labels.append(block.labels)
    digest.update(np.concatenate(labels).data)
    return digest.hexdigest()


def _others(before: Mapping[str, Any], here: dict[str, Any]) -> str:
    before = {"compiler options": "default"} | dict(before)  # all there was before runs said so
    return ", ".join(f"{key} {before.get(key)} (here {here[key]})" for key in here if before.get(key) != here[key])


def _stretched(config: Config) -> bool:
    return config.optimizer.schedule == "cosine" and config.optimizer.decay_over is None


def _shown(value: Any) -> str:
    return "its default" if value is None else str(list(value) if isinstance(value, tuple) else value)
