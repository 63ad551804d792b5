"""The compiled functions of one run: what `loop.py` calls and what `experiments/` reuses over seeds."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from jbackprop.training import compiler, epochs, objective, optimizer, seeds, streaming
from jbackprop.training import mesh as meshes
from jbackprop.training import state as states
from jbackprop.training.check import Check, Parameter, make_check, parameters
from jbackprop.training.config import Config, ConfigError, Gradient
from jbackprop.training.data import Dataset
from jbackprop.training.epochs import Epoch, Order
from jbackprop.training.evaluate import Evaluation, make_evaluate
from jbackprop.training.gradient import loss_and_grads
from jbackprop.training.mesh import Layout
from jbackprop.training.model import Model
from jbackprop.training.split import streams
from jbackprop.training.state import State
from jbackprop.training.step import Step, make_step, shuffled_batches
from jbackprop.verify.compiling import BARELY_OPTIMISED

MOST_PARAMETERS = 2**27  # half a gigabyte in float32; a step needs three times that

Start = Callable[[Any], tuple[State, jax.Array]]
"""`seed -> (state, key)`, before the first step."""


class Trainer(NamedTuple):
    """What a run calls: `init(seed) -> (state, key)`, `evaluate(params, split)` and
    `epoch(state, key, epoch, stop, first=0, last=None) -> (state, losses, rows)`, the steps `first` to `last - 1`.

    `epoch` gives the state's memory to its result: the state passed in cannot be used again. `losses` and `rows` have
    one entry a step, fewer where `stop()` became true between two steps. A row is the gradient's disagreement for each
    of `checked`, `NOT_CHECKED` at steps without a check. With several `seeds` each leaf of the state, the key and each
    entry of `losses` has them as first axis; `together` says how they are trained (`seeds.py`). `order(key, epoch)` are
    the rows of the batches. `loop` and `compiler` say what was chosen.
    """

    model: Model
    init: Callable[[int], tuple[State, jax.Array]]
    epoch: Epoch
    evaluate: Callable[..., Evaluation]
    batch_size: int
    steps: int
    checked: tuple[Parameter, ...]
    loop: str
    compiler: str
    compile_seconds: float
    order: Order
    seeds: int = 1
    together: str = ""
    layout: Layout | None = None


def build(config: Config, dataset: Dataset, gradient: Gradient | None = None) -> Trainer:
    """Returns the run's functions with the epoch compiled; `gradient` takes the place of the configuration's.

    Raises `ConfigError` where a batch is larger than the training split, the network than `MOST_PARAMETERS`, or the
    mesh than the devices there are, and as `compiler.choose` does.
    """
    gradient = gradient or config.gradient
    steps = _steps(config, dataset)
    seeds.check(config, streams(dataset.train))
    model = objective.of_run(config, dataset)
    tx = optimizer.build(config.optimizer, steps, config.epochs)
    chosen = compiler.choose(config)
    options = compiler.options(chosen)
    loop = _stream(config) if streams(dataset.train) else choose_loop(config, gradient)
    start = _start(model, tx)
    shapes, layout = _laid_out(config, tx, start)
    on_mesh = meshes.placed(dataset, layout)
    began = time.perf_counter()
    check, checked = _check(config, model, on_mesh, shapes.params)
    of_batch = meshes.annotated(loss_and_grads(gradient, model, config.accumulate), layout)
    step = make_step(of_batch, tx, model.prepare, check)
    by_loop = {"scan": epochs.scanned, "steps": epochs.stepped, "stream": epochs.streamed}[loop]
    epoch, order = _epoch(config, partial(by_loop, layout=layout, options=options), step, on_mesh, start, shapes)
    seconds = time.perf_counter() - began
    evaluate = streaming.in_blocks(make_evaluate(model, options=options), layout)
    return Trainer(
        model,
        _init(start, config.seeds, layout),
        epoch,
        meshes.placing(evaluate, layout, dataset, on_mesh),
        config.batch_size,
        steps,
        checked,
        loop=loop,
        compiler=chosen,
        compile_seconds=seconds,
        order=order,
        seeds=config.seeds,
        together=seeds.choose(config),
        layout=layout,
    )


def _steps(config: Config, dataset: Dataset) -> int:
    examples = dataset.train.labels.size
    if config.batch_size > examples:
        words = f"batch_size: {config.batch_size} is more than the {examples} training examples"
        raise ConfigError(words, "batch_size")
    return examples // config.batch_size


def _start(model: Model, tx: optax.GradientTransformation) -> Start:
    def start(seed: jax.Array) -> tuple[State, jax.Array]:
        weights_key, shuffle_key = jax.random.split(jax.random.key(seed))
        return states.init(model, tx, weights_key), shuffle_key

    return start


def _laid_out(config: Config, tx: optax.GradientTransformation, start: Start) -> tuple[State, Layout | None]:
    """Returns the shapes of one seed's state, with the shardings of the layout, and the layout."""
    shapes, _ = jax.eval_shape(start, np.uint32(0))
    _check_size(shapes.params, config.seeds)
    layout = meshes.build(config, tx, shapes)
    return meshes.placed_shapes(shapes, layout), layout


def _init(start: Start, several: int, layout: Layout | None) -> Callable[[int], tuple[State, jax.Array]]:
    of_all = seeds.starts(start, several) if several > 1 else start
    compiled = jax.jit(of_all, compiler_options=BARELY_OPTIMISED, **meshes.compiled_for(layout))
    return lambda seed: compiled(np.uint32(seed))  # as a Python integer, seeds from 2**31 on would overflow


def _epoch(
    config: Config, compiled: Callable[..., Epoch], step: Step, dataset: Dataset, start: Start, shapes: State
) -> tuple[Epoch, Order]:
    """Returns the compiled epoch of one seed or of all, and the order of its batches."""
    examples, steps = dataset.train.labels.size, _steps(config, dataset)
    order = partial(shuffle, examples=examples, batch_size=config.batch_size, in_order=not config.shuffle)
    if config.seeds == 1:
        return compiled(step, dataset, order, shapes), order
    orders = seeds.orders(order, config.seeds)
    if seeds.choose(config) == seeds.AT_ONCE:
        of_all, _ = jax.eval_shape(seeds.starts(start, config.seeds), np.uint32(0))
        return compiled(seeds.at_once(step), dataset, orders, of_all), orders
    epoch = compiled(step, dataset, order, shapes)
    return seeds.in_turn(epoch, config.seeds, steps), orders


def _check(config: Config, model: Model, dataset: Dataset, params: Any) -> tuple[Check | None, tuple[Parameter, ...]]:
    if not config.check_every:
        return None, ()
    automatic = loss_and_grads("automatic", model, config.accumulate)
    batch = [jax.ShapeDtypeStruct((config.batch_size, *split.shape[1:]), split.dtype) for split in dataset.train]
    x = jax.eval_shape(model.prepare, batch[0])
    return make_check(automatic, config.check_every), parameters(params, automatic, x, batch[1])


def _check_size(params: Any, seeds: int) -> None:
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    if count * seeds > MOST_PARAMETERS:
        times = f" for each of {seeds} seeds" if seeds > 1 else ""
        raise ConfigError(f"network: {count:,} parameters{times} are more than {MOST_PARAMETERS:,}", "network")


def choose_loop(config: Config, gradient: Gradient) -> str:
    """Returns `scan` or `steps`: the configured one, or for `auto` the faster.

    XLA's CPU backend runs the convolutions that automatic differentiation emits, also for the checks of another
    gradient, many times slower inside a loop (docs/performance.md), with the options of `compiler.py` or without.
    """
    if config.loop != "auto":
        return config.loop
    differentiated = gradient == "automatic" or config.check_every
    slow_inside = config.network.name == "cnn" and differentiated and jax.default_backend() == "cpu"
    return "steps" if slow_inside else "scan"


def _stream(config: Config) -> str:
    if config.loop == "scan":
        raise ConfigError("loop: 'scan' needs the data on the device, see data.on_device_bytes", "loop")
    return "stream"


# one compilation for all trainers of a process, and not one more inside each epoch
STATIC = ("examples", "batch_size", "in_order")
shuffle = jax.jit(shuffled_batches, static_argnames=STATIC, compiler_options=BARELY_OPTIMISED)
