"""Settings that are right by themselves and wrong together."""

from typing import Any

from jbackprop.training.sections import CHANNELS, Data, Network, Optimizer

NO_CLASSIFIERS = {
    "deep": "deep gives one number, with a squared error, and names no class: mlp has the same layers",
    "regression": "regression gives numbers, with a squared error, and names no class",
}


def unusable(config: Any) -> str | None:
    """Returns why the configuration cannot be used, beginning with the key, or None."""
    return _network(config.network) or _optimizer(config.optimizer) or _data(config.data) or _batch(config)


def _network(network: Network) -> str | None:
    if network.name == "two_layer" and len(network.hidden) != 1:
        return f"network.hidden: two_layer has one hidden layer, got {list(network.hidden)}"
    if network.name == "graph" and len(set(network.hidden)) != 1:
        return (
            f"network.hidden: graph is a residual perceptron, whose layers are added and have one width, "
            f"got {list(network.hidden)}"
        )
    convolutions = len(network.channels or CHANNELS)
    if network.padding is not None and len(network.padding) != convolutions:
        return f"network.padding: one for each of {convolutions} convolutions, got {list(network.padding)}"
    return None


def _optimizer(optimizer: Optimizer) -> str | None:
    for key in ("decay_over", "decay_to"):
        if optimizer.schedule == "constant" and getattr(optimizer, key) is not None:
            return f"optimizer.{key}: a setting of optimizer.schedule = 'cosine' alone"
    if optimizer.decay_over is not None and optimizer.warmup >= optimizer.decay_over:
        return (
            f"optimizer.warmup: {optimizer.warmup:g} is not less than optimizer.decay_over = {optimizer.decay_over:g}"
        )
    if optimizer.unit == "steps":
        for key in ("warmup", "decay_over"):
            if (getattr(optimizer, key) or 0) % 1:
                return f"optimizer.{key}: a whole number of steps, got {getattr(optimizer, key):g}"
    return None


def _data(data: Data) -> str | None:
    if data.rows is not None and data.rows[0] >= data.rows[1]:
        return f"data.rows: the first, {data.rows[0]}, is not before the second, {data.rows[1]}"
    return None


def _batch(config: Any) -> str | None:
    if config.batch_size % config.accumulate:
        return f"accumulate: {config.batch_size} examples a batch cannot be cut into {config.accumulate} equal parts"
    if (config.l2.form == "none") != (config.l2.strength == 0):
        return f"l2.strength: {config.l2.strength:g} with l2.form = {config.l2.form!r}; set both or neither"
    return None
