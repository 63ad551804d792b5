"""optax optimisers by name."""

import optax

from jbackprop.training.config import Optimizer


def build(config: Optimizer) -> optax.GradientTransformation:
    """Returns the optax transformation that the configuration names."""
    match config.name:
        case "sgd":
            return optax.sgd(config.learning_rate)
        case "momentum":
            return optax.sgd(config.learning_rate, momentum=0.9 if config.momentum is None else config.momentum)
        case "adam":
            return optax.adam(config.learning_rate)
