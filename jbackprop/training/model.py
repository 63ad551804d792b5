"""A network of the project, fitted to a data set: from its configuration to plain functions."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.networks import cnn, mlp, two_layer
from jbackprop.networks.cnn_sizes import Block
from jbackprop.training.config import ConfigError, Network
from jbackprop.training.data import Dataset

Pixels = TypeVar("Pixels", jax.Array, np.ndarray)


class Model(NamedTuple):
    """Five functions of one network with every option fixed.

    `init(key) -> params`, `prepare(images uint8) -> x`, `logits(params, x)`, `loss(params, x, labels)` and
    `loss_and_grads(params, x, labels)`; `first_layer(params)` are the weights to look at: `(pixels, units)` or
    kernels `(h, w, i, o)`.
    """

    init: Callable[[jax.Array], Any]
    prepare: Callable[[Any], Any]
    logits: Callable[[Any, jax.Array], jax.Array]
    loss: Callable[[Any, jax.Array, jax.Array], jax.Array]
    loss_and_grads: Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, Any]]
    first_layer: Callable[[Any], jax.Array]


def build(config: Network, dataset: Dataset) -> Model:
    """Returns the configured network with the input and output widths of the data."""
    height, width, channels = dataset.train.images.shape[1:]
    sizes = (height * width * channels, *config.hidden, dataset.classes)
    dense = partial(scaled, white=dataset.white, flat=True)
    match config.name:
        case "two_layer":
            return _model(two_layer, partial(two_layer.init, sizes=sizes), {}, dense, lambda params: params["w1"])
        case "mlp":
            options = {"activation": config.activation or "relu"}
            init = partial(mlp.init, sizes=sizes, **options)
            return _model(mlp, init, options, dense, lambda params: params[0]["w"])
        case "cnn":
            sizes = cnn_sizes(config, (height, width, channels), dataset.classes)
            images = partial(scaled, white=dataset.white, flat=False)
            init = partial(cnn.init, sizes=sizes)
            return _model(cnn, init, {"sizes": sizes}, images, lambda params: params["conv"][0]["w"])


def cnn_sizes(config: Network, image: tuple[int, int, int], classes: int) -> cnn.Sizes:
    """Returns the convolutional network's sizes: kernels that keep the image's size, then pooling over 2x2.

    Raises `ConfigError` where the image is too small for that many blocks.
    """
    kernel = config.kernel or 3
    blocks = tuple(Block(features, kernel, padding="SAME") for features in config.channels or (32, 64))
    try:
        return cnn.Sizes(image, blocks, (*config.hidden, classes), config.pool or "max")
    except ValueError as error:
        raise ConfigError(f"network.channels: {error}", "network.channels") from error


def scaled(images: Pixels, white: float, flat: bool) -> Pixels:
    """Returns uint8 images `(n, h, w, c)` as float32 from 0 to 1, flattened to `(n, h w c)` for dense networks."""
    x = images.astype(jnp.float32) / white
    return x.reshape(len(x), -1) if flat else x


def _model(network: Any, init: Callable, options: dict, prepare: Callable, first_layer: Callable) -> Model:
    return Model(
        init=init,
        prepare=prepare,
        logits=lambda params, x: network.forward(params, x, **options)[0],
        loss=partial(network.loss, **options),
        loss_and_grads=partial(network.loss_and_grads, **options),
        first_layer=first_layer,
    )
