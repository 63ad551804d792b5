"""An epoch as few compiled calls: many steps in one loop, one step a call, or one streamed batch a call.

Each can begin and end at any step, can be asked to stop on the way, and stops where the loss is no longer finite, at
the end of a call: the calls take about `PROMPT` seconds. Where they begin and end does not show in the numbers.
`options` are those of `compiler.py`.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import numpy as np

from jbackprop.training import distributed, streaming
from jbackprop.training import mesh as meshes
from jbackprop.training.compiler import NONE, Options
from jbackprop.training.data import Dataset, Split
from jbackprop.training.interrupt import Stop
from jbackprop.training.mesh import Layout
from jbackprop.training.split import taken
from jbackprop.training.state import State
from jbackprop.training.step import Step

PROMPT = 0.5  # seconds
FIRST_CALL = 16  # steps, as long as nothing is known of their time
TOGETHER = 64  # steps between two looks at the loss where several processes have to stop at the same one

Order = Callable[[jax.Array, np.int32], jax.Array]
"""`(key, epoch) -> batches`, the rows of each."""
Epoch = Callable[..., tuple[State, np.ndarray, np.ndarray]]
"""`(state, key, epoch, stop, first=0, last=None) -> (state, losses, rows)` of the steps `first` to `last - 1`."""


def scanned(
    step: Step, dataset: Dataset, order: Order, start: Any, layout: Layout | None, options: Options = NONE
) -> Epoch:
    """Returns the epoch as a compiled loop over its steps. Its bounds are arguments: one program serves every part."""

    def part(state: State, split: Split, batches: jax.Array, bounds: jax.Array, logged: Any) -> tuple[State, Any]:
        def one(i: jax.Array, carry: tuple[State, Any]) -> tuple[State, Any]:
            state, value = step(carry[0], split, batches[i])
            return state, jax.tree.map(lambda all_steps, one: all_steps.at[i].set(one), carry[1], value)

        return jax.lax.fori_loop(bounds[0], bounds[1], one, (state, logged))

    split = dataset.train
    batches = order(meshes.whole_key(layout), np.int32(0))
    steps = len(batches)
    value = jax.eval_shape(step, start, split, batches[0])[1]
    nothing = jax.tree.map(lambda one: np.zeros((steps, *one.shape), one.dtype), value)
    bounds = np.zeros(2, np.int32)
    jitted = jax.jit(part, donate_argnums=0, **meshes.compiled_for(layout), **options)
    compiled = jitted.lower(start, split, batches, bounds, nothing).compile()
    pace = FIRST_CALL

    def run(
        state: State, key: jax.Array, epoch: int, stop: Stop, first: int = 0, last: int | None = None
    ) -> tuple[State, np.ndarray, np.ndarray]:
        nonlocal pace
        batches = order(key, np.int32(epoch))
        parts = []
        end = steps if last is None else last
        while first < end and not stop():
            until = min(end, first + pace)
            began = time.perf_counter()
            state, logged = compiled(state, split, batches, np.array([first, until], np.int32), nothing)
            parts.append(jax.tree.map(lambda value, a=first, b=until: np.asarray(value)[a:b], logged))
            seconds = (time.perf_counter() - began) / (until - first)
            # processes that share a mesh must make the same calls, and time is not the same for all
            pace = distributed.of_first(max(1, min(steps, int(PROMPT / max(seconds, 1e-9)))))
            first = end if _diverged(parts[-1]) else until
        return state, *_joined(parts, np.concatenate)

    return run


def stepped(
    step: Step, dataset: Dataset, order: Order, start: Any, layout: Layout | None, options: Options = NONE
) -> Epoch:
    """Returns the epoch with one call a step."""

    def one(state: State, split: Split, batches: jax.Array, i: jax.Array) -> tuple[State, Any]:
        return step(state, split, batches[i])

    split = dataset.train
    batches = order(meshes.whole_key(layout), np.int32(0))
    jitted = jax.jit(one, donate_argnums=0, **meshes.compiled_for(layout), **options)
    compiled = jitted.lower(start, split, batches, np.int32(0)).compile()

    def run(
        state: State, key: jax.Array, epoch: int, stop: Stop, first: int = 0, last: int | None = None
    ) -> tuple[State, np.ndarray, np.ndarray]:
        batches = order(key, np.int32(epoch))
        numbers = range(first, len(batches) if last is None else last)
        return _one_by_one(compiled, state, ((split, batches, np.int32(i)) for i in numbers), stop)

    return run


def streamed(
    step: Step, dataset: Dataset, order: Order, start: Any, layout: Layout | None, options: Options = NONE
) -> Epoch:
    """Returns the epoch with one call a batch, which is read from its files meanwhile."""

    def one(state: State, batch: Split) -> tuple[State, Any]:
        return step(state, batch, None)

    split, batch_size = dataset.train, order(meshes.whole_key(layout), np.int32(0)).shape[1]
    rows = streaming.local_rows(layout, batch_size)
    some = taken(split, rows)
    place = partial(streaming.on_devices, layout=layout, batch_size=batch_size)
    jitted = jax.jit(one, donate_argnums=0, **meshes.compiled_for(layout), **options)
    compiled = jitted.lower(start, place(some)).compile()

    def run(
        state: State, key: jax.Array, epoch: int, stop: Stop, first: int = 0, last: int | None = None
    ) -> tuple[State, np.ndarray, np.ndarray]:
        batches = streaming.batches(split, np.asarray(order(key, np.int32(epoch)))[first:last, rows])
        return _one_by_one(compiled, state, ((place(batch),) for batch in batches), stop)

    return run


def _one_by_one(
    step: Callable[..., Any], state: State, batches: Iterable[Any], stop: Stop
) -> tuple[State, np.ndarray, np.ndarray]:
    steps: list[Any] = []
    seen, looked = 0, time.perf_counter()
    for batch in batches:
        if stop():
            break
        state, logged = step(state, *batch)
        steps.append(logged)
        if _to_look(len(steps) - seen, looked):  # not at each step, which would wait for the device
            if any(map(_diverged, jax.device_get(steps[seen:]))):
                break
            seen, looked = len(steps), time.perf_counter()
    return state, *_joined(jax.device_get(steps), np.stack)


def _to_look(taken: int, looked: float) -> bool:
    if jax.process_count() > 1:  # time is not the same for all
        return taken >= TOGETHER
    return time.perf_counter() - looked > PROMPT


def _diverged(logged: Any) -> bool:
    return not np.isfinite(logged[0] if isinstance(logged, tuple) else logged).all()


def _joined(parts: list[Any], join: Callable[[Any], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    if not parts:
        return np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
    logged = jax.tree.map(lambda *values: join(values), *parts)
    return logged if isinstance(logged, tuple) else (logged, np.zeros((len(logged), 0), np.float32))
