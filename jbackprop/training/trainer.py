"""The compiled functions of one run: what `loop.py` calls and what `experiments/` reuses over seeds."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jbackprop.training import model as models
from jbackprop.training import optimizer
from jbackprop.training import state as states
from jbackprop.training.check import Check, Parameter, make_check, parameters
from jbackprop.training.config import Config, ConfigError, Gradient
from jbackprop.training.data import Dataset, Split
from jbackprop.training.evaluate import Evaluation, make_evaluate
from jbackprop.training.gradient import loss_and_grads
from jbackprop.training.interrupt import Stop
from jbackprop.training.model import Model
from jbackprop.training.state import State
from jbackprop.training.step import Step, make_step, scan_epoch, shuffled_batches

# for what is called once or does little: LLVM's optimisation would take longer than it saves
BARELY_OPTIMISED: dict[str, Any] = {"xla_backend_optimization_level": 0}

MOST_PARAMETERS = 2**27  # half a gigabyte in float32; a step needs three times that

Epoch = Callable[[State, jax.Array, int, Stop], tuple[State, np.ndarray, np.ndarray]]


class Trainer(NamedTuple):
    """What a run calls: `init(seed) -> (state, key)`, `evaluate(params, split)` and
    `epoch(state, key, epoch, stop) -> (state, losses, rows)`.

    `epoch` gives the state's memory to its result: the state passed in cannot be used again. `losses` and `rows` have
    one entry a step, fewer than `steps` where `stop()` became true between two steps. A row is the gradient's
    disagreement for each of `checked`, `NOT_CHECKED` at steps without a check.
    """

    model: Model
    init: Callable[[int], tuple[State, jax.Array]]
    epoch: Epoch
    evaluate: Callable[..., Evaluation]
    batch_size: int
    steps: int
    checked: tuple[Parameter, ...]
    loop: str
    compile_seconds: float


def build(config: Config, dataset: Dataset, gradient: Gradient | None = None) -> Trainer:
    """Returns the run's functions with the epoch compiled; `gradient` takes the place of the configuration's.

    Raises `ConfigError` where a batch is larger than the training split, or the network than `MOST_PARAMETERS`.
    """
    gradient = gradient or config.gradient
    examples = dataset.train.labels.size
    if config.batch_size > examples:
        raise ConfigError(
            f"batch_size: {config.batch_size} is more than the {examples} training examples", "batch_size"
        )
    model = models.build(config.network, dataset)
    tx = optimizer.build(config.optimizer)

    @partial(jax.jit, compiler_options=BARELY_OPTIMISED)
    def start(seed: jax.Array) -> tuple[State, jax.Array]:
        weights_key, shuffle_key = jax.random.split(jax.random.key(seed))
        return states.init(model, tx, weights_key), shuffle_key

    def init(seed: int) -> tuple[State, jax.Array]:
        return start(np.uint32(seed))  # as a Python integer, seeds from 2**31 on would overflow

    loop = choose_loop(config, gradient)
    shapes, _ = jax.eval_shape(start, np.uint32(0))
    _check_size(shapes.params)
    began = time.perf_counter()
    compiled = _scanned if loop == "scan" else _stepped
    check, checked = _check(config, model, dataset, shapes.params)
    step = make_step(loss_and_grads(gradient, model), tx, model.prepare, check)
    epoch = compiled(step, dataset, config.batch_size, shapes)
    seconds = time.perf_counter() - began
    steps = examples // config.batch_size
    return Trainer(model, init, epoch, make_evaluate(model), config.batch_size, steps, checked, loop, seconds)


def _check(config: Config, model: Model, dataset: Dataset, params: Any) -> tuple[Check | None, tuple[Parameter, ...]]:
    if not config.check_every:
        return None, ()
    automatic = loss_and_grads("automatic", model)
    batch = [jax.ShapeDtypeStruct((config.batch_size, *split.shape[1:]), split.dtype) for split in dataset.train]
    x = jax.eval_shape(model.prepare, batch[0])
    return make_check(automatic, config.check_every), parameters(params, automatic, x, batch[1])


def _check_size(params: Any) -> None:
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    if count > MOST_PARAMETERS:
        raise ConfigError(f"network: {count:,} parameters are more than {MOST_PARAMETERS:,}", "network")


def choose_loop(config: Config, gradient: Gradient) -> str:
    """Returns `scan` or `steps`: the configured one, or for `auto` the faster.

    XLA's CPU backend runs the convolutions that automatic differentiation emits 12 to 100 times slower inside a loop.
    """
    if config.loop != "auto":
        return config.loop
    slow_inside = config.network.name == "cnn" and gradient == "automatic" and jax.default_backend() == "cpu"
    return "steps" if slow_inside else "scan"


# one compilation for all trainers of a process, and not one more inside each epoch
shuffle = jax.jit(shuffled_batches, static_argnames=("examples", "batch_size"), compiler_options=BARELY_OPTIMISED)


def _scanned(step: Step, dataset: Dataset, batch_size: int, start: Any) -> Epoch:
    def whole(state: State, split: Split, batches: jax.Array) -> tuple[State, Any]:
        return scan_epoch(step, state, split, batches)

    split, examples = dataset.train, dataset.train.labels.size
    batches = shuffle(jax.random.key(0), np.int32(0), examples, batch_size)
    compiled = jax.jit(whole, donate_argnums=0).lower(start, split, batches).compile()

    def run(state: State, key: jax.Array, epoch: int, stop: Stop) -> tuple[State, np.ndarray, np.ndarray]:
        del stop  # one call is the whole epoch
        state, logged = compiled(state, split, shuffle(key, np.int32(epoch), examples, batch_size))
        return state, *_losses_and_rows(logged)

    return run


def _stepped(step: Step, dataset: Dataset, batch_size: int, start: Any) -> Epoch:
    def one(state: State, split: Split, batches: jax.Array, i: jax.Array) -> tuple[State, Any]:
        return step(state, split, batches[i])

    split, examples = dataset.train, dataset.train.labels.size
    batches = shuffle(jax.random.key(0), np.int32(0), examples, batch_size)
    compiled = jax.jit(one, donate_argnums=0).lower(start, split, batches, np.int32(0)).compile()

    def run(state: State, key: jax.Array, epoch: int, stop: Stop) -> tuple[State, np.ndarray, np.ndarray]:
        batches = shuffle(key, np.int32(epoch), examples, batch_size)
        steps = []
        for i in range(len(batches)):
            if stop():
                break
            state, logged = compiled(state, split, batches, np.int32(i))
            steps.append(logged)
        if not steps:
            return state, np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
        return state, *_losses_and_rows(jax.tree.map(lambda *values: np.stack(values), *jax.device_get(steps)))

    return run


def _losses_and_rows(logged: Any) -> tuple[np.ndarray, np.ndarray]:
    losses, rows = logged if isinstance(logged, tuple) else (logged, np.zeros((len(logged), 0), np.float32))
    return np.asarray(losses), np.asarray(rows)
