"""A network of the project, fitted to a data set: from its configuration to plain functions."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.layers.sigmoid import sigmoid
from jbackprop.layers.softmax import softmax
from jbackprop.networks import cnn, graph, mlp, two_layer
from jbackprop.networks.cnn_sizes import Block
from jbackprop.networks.costs import COSTS, widened
from jbackprop.training.config import ConfigError, Network
from jbackprop.training.data import Dataset
from jbackprop.training.residual import residual
from jbackprop.training.sections import CHANNELS
from jbackprop.training.weights import redrawn

OBJECTIVES = {
    "cross_entropy": "mean cross-entropy of the softmax",
    "quadratic": "mean of half the squared distance between the sigmoids and the label's 0s and 1s",
    "sigmoid_cross_entropy": "mean over examples of the summed cross-entropies of the sigmoids",
}

Pixels = TypeVar("Pixels", jax.Array, np.ndarray)


class Model(NamedTuple):
    """The functions of one network with every option fixed.

    `init(key) -> params`, `prepare(images uint8) -> x`, `logits(params, x)`, `loss(params, x, labels)` and
    `loss_and_grads(params, x, labels)`, which `objective` names; `first_layer(params)` are the weights to look at:
    `(pixels, units)` or kernels `(h, w, i, o)`. Of logits: `losses(logits, labels) -> (n,)`, without any penalty, and
    `outputs(logits)`, the probabilities of the classes.
    """

    init: Callable[[jax.Array], Any]
    prepare: Callable[[Any], Any]
    logits: Callable[[Any, jax.Array], jax.Array]
    loss: Callable[[Any, jax.Array, jax.Array], jax.Array]
    loss_and_grads: Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Any]]
    first_layer: Callable[[Any], jax.Array]
    losses: Callable[[jax.Array, jax.Array], jax.Array]
    outputs: Callable[[jax.Array], jax.Array]
    objective: str


def build(config: Network, dataset: Dataset) -> Model:
    """Returns the configured network with the input and output widths of the data."""
    height, width, channels = dataset.train.images.shape[1:]
    sizes = (height * width * channels, *config.hidden, dataset.classes)
    prepare = partial(scaled, white=dataset.white, mean=dataset.mean, std=dataset.std, flat=config.name != "cnn")
    model = partial(_model, prepare=prepare, config=config)
    match config.name:
        case "two_layer":
            return model(two_layer, {"sizes": sizes}, {}, first_layer=lambda params: params["w1"])
        case "mlp":
            options = {"activation": config.activation or "relu"}
            return model(mlp, {"sizes": sizes, **options}, options, first_layer=lambda params: params[0]["w"])
        case "graph":
            options = {"graph": residual(sizes, widened(COSTS[config.cost]))}
            return model(graph, options, options, first_layer=lambda params: params["w1"])
        case "cnn":
            options = {"sizes": cnn_sizes(config, (height, width, channels), dataset.classes)}
            return model(cnn, options, options, first_layer=lambda params: params["conv"][0]["w"])


def cnn_sizes(config: Network, image: tuple[int, int, int], classes: int) -> cnn.Sizes:
    """Returns the convolutional network's sizes: each convolution is followed by pooling over 2x2.

    Raises `ConfigError` where the image is too small for that many blocks.
    """
    features = config.channels or CHANNELS
    paddings = config.padding or ("SAME",) * len(features)
    blocks = tuple(Block(o, config.kernel or 3, padding) for o, padding in zip(features, paddings, strict=True))
    try:
        return cnn.Sizes(image, blocks, (*config.hidden, classes), config.pool or "max")
    except ValueError as error:
        raise ConfigError(f"network.channels: {error}", "network.channels") from error


def scaled(images: Pixels, white: float, flat: bool, mean: float = 0.0, std: float = 1.0) -> Pixels:
    """Returns uint8 images `(n, h, w, c)` as float32, white as 1, less `mean`, by `std`; flat is `(n, h w c)`."""
    x = images.astype(jnp.float32) / white
    if (mean, std) != (0.0, 1.0):
        x = (x - mean) / std
    return x.reshape(len(x), -1) if flat else x


def _model(
    network: Any, sizes: dict, options: dict, prepare: Callable, config: Network, first_layer: Callable
) -> Model:
    cost = widened(COSTS[config.cost])
    with_cost = options if network is graph else {"cost": cost, **options}  # a graph ends in its own
    return Model(
        init=redrawn(partial(network.init, **sizes), config.weights, config.biases),
        prepare=prepare,
        logits=lambda params, x: network.forward(params, x, **options)[0],
        loss=partial(network.loss, **with_cost),
        loss_and_grads=partial(network.loss_and_grads, **with_cost),
        first_layer=first_layer,
        losses=jax.vmap(lambda logits, label: cost.fwd(logits[None], label[None])[0]),
        outputs=softmax if config.cost == "cross_entropy" else sigmoid,
        objective=OBJECTIVES[config.cost],
    )
