"""Time of programs against each other: in turns, in a random order each round, outputs kept until they are ready."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

Call = Callable[[], Any]
LEAST_ROUNDS, MOST_ROUNDS = 5, 400
SAMPLE_SECONDS = 1e-3  # a sample is as many calls as fill this time: the clock and the loop cost less than 0.1% of it
MOST_REPEATS = 1000
WARM_BELOW = 0.5  # seconds


def rounds(calls: Sequence[Call], seconds: float, warm: bool = False) -> np.ndarray:
    """Returns the seconds of one call, `(rounds, calls)`: each round times every call once, in a random order.

    Rounds are added until `seconds` are over, at least `LEAST_ROUNDS`. With `warm`, each sample comes right after an
    untimed call of the same program, unless that takes long: what another library's threads left behind is not charged
    to it.

    >>> rounds([lambda: 1, lambda: 2], seconds=0.0).shape
    (5, 2)
    """
    rng = np.random.default_rng(0)
    once = [_seconds_of_one(call) for call in calls]
    repeats = [int(np.clip(np.ceil(SAMPLE_SECONDS / max(taken, 1e-9)), 1, MOST_REPEATS)) for taken in once]
    found: list[np.ndarray] = []
    with _no_collection():
        end = time.perf_counter() + seconds
        while len(found) < LEAST_ROUNDS or (time.perf_counter() < end and len(found) < MOST_ROUNDS):
            row = np.empty(len(calls))
            for i in rng.permutation(len(calls)):
                if warm and once[i] < WARM_BELOW:
                    _sample(calls[i], 1)
                row[i] = _sample(calls[i], repeats[i])
            found.append(row)
    return np.stack(found)


def _seconds_of_one(call: Call) -> float:
    """A first call loads what later ones have; where that is nothing beside its time, it is not repeated."""
    first = _sample(call, 1)
    return first if first > WARM_BELOW else min(_sample(call, 1) for _ in range(2))


def _sample(call: Call, repeats: int) -> float:
    # XLA's CPU client runs calls that do not read each other at the same time; an accelerator queues them.
    each = jax.default_backend() == "cpu"
    start = time.perf_counter()
    out = None
    for _ in range(repeats):
        out = call()
        if each:
            jax.block_until_ready(out)
    jax.block_until_ready(out)
    return (time.perf_counter() - start) / repeats


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
