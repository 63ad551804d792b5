"""optax optimisers and their learning rates, by name."""

import optax

from jbackprop.training.config import ConfigError
from jbackprop.training.sections import Optimizer
from jbackprop.training.weights import are_weights


def build(config: Optimizer, steps_an_epoch: int = 1, epochs: int = 1) -> optax.GradientTransformation:
    """Returns the optax transformation that the configuration names.

    Raises `ConfigError` where the warm-up is not shorter than the whole run.
    """
    rate = learning_rate(config, steps_an_epoch, epochs)
    update = _update(config, rate)
    if config.clip_norm is None:
        return update
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), update)


def _update(config: Optimizer, rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    match config.name:
        case "sgd":
            return optax.sgd(rate)
        case "momentum":
            return optax.sgd(rate, momentum=0.9 if config.momentum is None else config.momentum)
        case "adam":
            return optax.adam(rate)
        case "adamw":
            decay = 1e-4 if config.weight_decay is None else config.weight_decay
            return optax.adamw(rate, weight_decay=decay, mask=are_weights)


def learning_rate(config: Optimizer, steps_an_epoch: int, epochs: int) -> optax.ScalarOrSchedule:
    """Returns the learning rate: a number, or a function of the steps taken.

    >>> rate = learning_rate(Optimizer(learning_rate=2.0, schedule="cosine", warmup=1), steps_an_epoch=10, epochs=3)
    >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 20, 30)]
    [0.0, 1.0, 2.0, 1.0, 0.0]
    """
    whole = steps_an_epoch * epochs
    in_steps = 1 if config.unit == "steps" else steps_an_epoch
    warmup = round(config.warmup * in_steps)
    steps = whole if config.decay_over is None else round(config.decay_over * in_steps)
    if warmup and warmup >= steps:
        raise ConfigError(f"optimizer.warmup: {warmup} steps are not less than the {steps} in all", "optimizer.warmup")
    if config.schedule == "cosine":
        lowest = config.learning_rate * (config.decay_to or 0.0)
        first = 0.0 if warmup else config.learning_rate
        return optax.warmup_cosine_decay_schedule(first, config.learning_rate, warmup, steps, lowest)
    return optax.warmup_constant_schedule(0.0, config.learning_rate, warmup) if warmup else config.learning_rate
