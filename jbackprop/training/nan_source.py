"""Where a loss that is not finite comes from: the steps since the last good state again, one by one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.training import mesh as meshes
from jbackprop.training.data import Dataset, Split
from jbackprop.training.interrupt import never
from jbackprop.training.loop import Position, TrainingError
from jbackprop.training.model import Model
from jbackprop.training.seeds import of_seed
from jbackprop.training.split import taken
from jbackprop.training.trainer import Trainer
from jbackprop.verify.model_call import take_model_apart, trace_model
from jbackprop.verify.model_nonfinite import backward_entry, forward_entry
from jbackprop.verify.model_steps import program

MODERATE = 16  # steps that are repeated in one call, as long as they are good


def explain(trainer: Trainer, dataset: Dataset, good: Position, error: TrainingError) -> str:
    """Returns in a sentence which rule first gave a NaN or an infinity for finite numbers, in which step.

    `good` is where the run stood before: it trains again from there, with the same numbers. Its state is given up.
    """
    found = _last_finite(trainer, good, error)
    if found is None:
        return "the steps before it, repeated, are finite: the computation does not repeat itself"
    state, key, epoch, step, seed = found
    rows = np.asarray(trainer.order(key, np.int32(epoch)))[step]
    if trainer.seeds > 1:
        state, rows = of_seed(state, seed), rows[seed]
    batch = Split(*map(jnp.asarray, taken(dataset.train, rows)))
    where = f"step {int(state.step) + 1}"
    words = entry(trainer.model, meshes.gathered(state.params, trainer.layout), batch)
    return f"{where}: {words or 'the gradient is finite, the update of the optimiser is not'}"


def entry(model: Model, params: Any, batch: Split) -> str:
    """Returns in a sentence where in the loss, or in its gradient by rules, a NaN or an infinity enters, else ''."""
    x, labels = model.prepare(batch.images), batch.labels
    call = take_model_apart(model.loss, params, (x, labels))
    steps = program(trace_model(call, call.inputs), call.differentiated)
    return forward_entry(steps, call.inputs, call.names) or backward_entry(
        steps, call.inputs, call.differentiated, rules=True
    )


def _last_finite(trainer: Trainer, good: Position, error: TrainingError) -> Any:
    """Returns the last finite state, the key, and epoch, step in it and seed of the step that then went wrong."""
    state, key, done, first = good.state, good.key, good.epoch, len(good.losses)
    for epoch in range(done + 1, error.epoch + 1):
        end = trainer.steps if epoch < error.epoch else error.step_in_epoch + 1
        while first < end:
            before, until = jax.tree.map(jnp.copy, state), min(end, first + MODERATE)
            state, losses, _ = trainer.epoch(state, key, epoch, never, first=first, last=until)
            if not _finite(trainer, losses, state).all():
                return _one_by_one(trainer, before, key, epoch, range(first, until))
            first = until
        first = 0
    return None


def _one_by_one(trainer: Trainer, state: Any, key: Any, epoch: int, steps: range) -> Any:
    for step in steps:
        before = jax.tree.map(jnp.copy, state)
        state, losses, _ = trainer.epoch(state, key, epoch, never, first=step, last=step + 1)
        finite = _finite(trainer, losses, state)
        if not finite.all():
            return before, key, epoch, step, int(np.argmin(finite))
    return None


def _finite(trainer: Trainer, losses: np.ndarray, state: Any) -> np.ndarray:
    """Whether losses and parameters are finite, for each seed."""
    seeds = losses.shape[1] if losses.ndim > 1 else 1
    params = meshes.gathered(state.params, trainer.layout)
    parts = [losses.T, *map(np.asarray, jax.tree.leaves(params))]
    return np.all([np.isfinite(part.reshape(seeds, -1)).all(axis=1) for part in parts], axis=0)
