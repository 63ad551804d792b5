"""Several seeds in one run: states side by side, each leaf with the seeds as its first axis.

They are trained at once, every step by all of them (`jax.vmap`), or in turn: some steps by the one, then the same steps
by the next, as in runs of their own.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.training.config import Config, ConfigError
from jbackprop.training.epochs import FIRST_CALL, PROMPT, Epoch, Order
from jbackprop.training.interrupt import Stop, never
from jbackprop.training.state import State
from jbackprop.training.step import Step

AT_ONCE, IN_TURN = "at once", "in turn"


def check(config: Config, streams: bool) -> None:
    """Raises `ConfigError` for what a run of several seeds cannot do."""
    if config.seeds == 1:
        return
    if config.check_every:
        raise ConfigError(f"check_every: a run of {config.seeds} seeds has no checks of its gradient", "check_every")
    if config.mesh.data * config.mesh.model > 1:
        raise ConfigError(f"seeds: {config.seeds} seeds share one device; on a mesh train one at a time", "seeds")
    if streams:
        raise ConfigError(f"seeds: {config.seeds} seeds need the data on the device, see data.on_device_bytes", "seeds")


def choose(config: Config) -> str:
    """Returns how the seeds are trained: at once on an accelerator, in turn on a CPU, which one seed keeps busy.

    There five small dense networks take as long either way, 784-300-10 at once twice, convolutions six times as long.
    """
    if config.seeds == 1:
        return ""
    return IN_TURN if jax.default_backend() == "cpu" else AT_ONCE


def starts(start: Callable[[jax.Array], tuple[State, jax.Array]], seeds: int) -> Callable:
    """Returns `seed -> (states, keys)` of the seeds `seed`, `seed + 1`, ..., the largest one followed by 0."""
    return lambda seed: jax.vmap(start)(seed + jnp.arange(seeds, dtype=jnp.uint32))


def orders(order: Order, seeds: int) -> Order:
    """Returns `(keys, epoch) -> rows (steps, seeds, batch)`."""

    def of_all(keys: jax.Array, epoch: np.int32) -> jax.Array:
        keys = keys if keys.shape else jax.random.split(keys, seeds)
        return jnp.stack([order(keys[i], epoch) for i in range(seeds)], axis=1)

    return of_all


def at_once(step: Step) -> Step:
    """Returns the step of all seeds `(states, split, rows (seeds, batch)) -> (states, losses (seeds,))`."""
    return jax.vmap(step, in_axes=(0, None, 0))


def in_turn(epoch_of_one: Epoch, seeds: int, steps: int) -> Epoch:
    """Returns the epoch of all seeds. They change places about every `PROMPT` seconds, so that it can be stopped."""
    pace = FIRST_CALL

    def run(
        states: State, keys: jax.Array, epoch: int, stop: Stop, first: int = 0, last: int | None = None
    ) -> tuple[State, np.ndarray, np.ndarray]:
        nonlocal pace
        alone = [of_seed(states, i) for i in range(seeds)]
        end, parts = steps if last is None else last, [np.zeros((0, seeds), np.float32)]
        while first < end and not stop():
            until = min(end, first + pace)
            began = time.perf_counter()
            taken = [epoch_of_one(one, keys[i], epoch, never, first, until) for i, one in enumerate(alone)]
            pace = max(1, min(steps, int(PROMPT * (until - first) / (time.perf_counter() - began))))
            alone = [state for state, _, _ in taken]
            common = min(len(losses) for _, losses, _ in taken)  # one that diverged has stopped early
            parts.append(np.stack([losses[:common] for _, losses, _ in taken], axis=1))
            first = until if np.isfinite(parts[-1]).all() else end
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
        losses = np.concatenate(parts)
        return stacked, losses, np.zeros((len(losses), 0), np.float32)

    return run


def of_seed(tree: Any, i: int) -> Any:
    """Returns the part of one seed."""
    return jax.tree.map(lambda leaf: leaf[i], tree)
