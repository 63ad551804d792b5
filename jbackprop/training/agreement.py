"""The same training with each of the three gradients, side by side."""

import msgspec
import numpy as np

from jbackprop.training import trainer as trainers
from jbackprop.training.config import Config
from jbackprop.training.data import Dataset
from jbackprop.training.gradient import NAMES
from jbackprop.training.interrupt import Stop, never
from jbackprop.training.trainer import Trainer


def loss_curves(
    config: Config, dataset: Dataset, epochs: int, known: Trainer | None = None, stop: Stop = never
) -> dict[str, np.ndarray]:
    """Returns the loss of every step `(steps,)` by the name of the gradient, from the same weights and batches.

    `known` is the trainer of `config.gradient`, which then need not be compiled again.
    """
    unchecked = msgspec.structs.replace(config, check_every=0)
    curves = {}
    init = known.init if known else None
    for name in NAMES:
        if stop():
            break
        trainer = known if known and name == config.gradient else trainers.build(unchecked, dataset, name)
        init = init or trainer.init  # the same weights for all, compiled once
        state, key = init(config.seed)
        losses = []
        for epoch in range(1, epochs + 1):
            state, epoch_losses, _ = trainer.epoch(state, key, epoch, stop)
            losses.append(epoch_losses)
        curves[name] = np.concatenate(losses)
    return curves


def disagreement(curves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns |loss - automatic loss| / automatic loss of every step, for the two gradients that are not automatic."""
    reference = curves["automatic"]
    return {name: np.abs(curve - reference) / reference for name, curve in curves.items() if name != "automatic"}
