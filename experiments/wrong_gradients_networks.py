"""Three classifiers made of the project's layers, each with places at which a wrong rule can be put in.

A network is a pair of functions: `init(key) -> params` and `loss(params, x, labels, parts) -> (loss, logits)`. `parts`
maps a place to the function there; `PARTS` are the project's own.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jbackprop import conv2d, linear, max_pool, relu, sigmoid, softmax_cross_entropy, tanh
from jbackprop.layers.softmax import softmax
from jbackprop.networks.initial import normal_weights

Parts = Mapping[str, Callable[..., Any]]


def log_loss(probs: jax.Array, labels: jax.Array) -> jax.Array:
    """The mean of -log p of the true class, for probabilities that a softmax has made."""
    return -jnp.log(jnp.maximum(jnp.take_along_axis(probs, labels[:, None], 1), 1e-30)).mean()


PARTS: Parts = {
    "first layer": linear,
    "middle layer": linear,
    "activation": tanh,
    "pooling": max_pool,
    "softmax": softmax,
    "cross-entropy": lambda logits, labels: softmax_cross_entropy(logits, labels, "none"),
}


class Network(NamedTuple):
    """A classifier and how it is trained: plain gradient descent."""

    title: str
    init: Callable[[jax.Array], Any]
    loss: Callable[[Any, jax.Array, jax.Array, Parts], tuple[jax.Array, jax.Array]]
    learning_rate: float
    batch_size: int
    epochs: int
    vmapped: bool  # all seeds at once
    shuffled: bool = True


def dense(widths: tuple[int, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """tanh after every layer but the last; the middle layer is square."""

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(widths) - 1)
        return [
            {"w": normal_weights(k, (i, o)), "b": jnp.zeros(o)}
            for k, i, o in zip(keys, widths[:-1], widths[1:], strict=True)
        ]

    def loss(params: Any, x: jax.Array, labels: jax.Array, parts: Parts) -> tuple[jax.Array, jax.Array]:
        first, middle, last = params
        h = parts["activation"](parts["first layer"](x.reshape(len(x), -1), first["w"], first["b"]))
        h = parts["activation"](parts["middle layer"](h, middle["w"], middle["b"]))
        logits = linear(h, last["w"], last["b"])
        return parts["cross-entropy"](logits, labels).mean(), logits

    return init, loss


def convolutional(side: int, channels: int, classes: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A convolution that keeps the size, ReLU, 2x2 max-pooling, one dense layer, softmax."""
    flat = (side // 2) ** 2 * channels

    def init(key: jax.Array) -> Any:
        k, d = jax.random.split(key)
        convolution = {"w": normal_weights(k, (3, 3, 1, channels), followed_by="relu"), "b": jnp.zeros(channels)}
        return convolution, {"w": normal_weights(d, (flat, classes)), "b": jnp.zeros(classes)}

    def loss(params: Any, x: jax.Array, labels: jax.Array, parts: Parts) -> tuple[jax.Array, jax.Array]:
        convolution, last = params
        pooled = parts["pooling"](relu(conv2d(x, convolution["w"], convolution["b"], padding="SAME")))
        logits = linear(pooled.reshape(len(x), -1), last["w"], last["b"])
        return log_loss(parts["softmax"](logits), labels), logits

    return init, loss


def cs229() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """CS229's 784-300-10: sigmoid, weights of variance 1, biases of 0."""

    def init(key: jax.Array) -> Any:
        k, d = jax.random.split(key)
        first = {"w": jax.random.normal(k, (784, 300)), "b": jnp.zeros(300)}
        return first, {"w": jax.random.normal(d, (300, 10)), "b": jnp.zeros(10)}

    def loss(params: Any, x: jax.Array, labels: jax.Array, parts: Parts) -> tuple[jax.Array, jax.Array]:
        first, last = params
        h = sigmoid(parts["first layer"](x.reshape(len(x), -1), first["w"], first["b"]))
        logits = linear(h, last["w"], last["b"])
        return parts["cross-entropy"](logits, labels).mean(), logits

    return init, loss


NETWORKS = {
    "dense": Network("digits, dense 64-64-64-10, tanh", *dense((64, 64, 64, 10)), 0.3, 50, 60, vmapped=True),
    "cnn": Network(
        "digits, convolution 3x3 with 16 filters, max-pooling", *convolutional(8, 16, 10), 0.1, 50, 30, vmapped=False
    ),
    "cs229": Network(
        "MNIST, CS229's dense 784-300-10, sigmoid", *cs229(), 5.0, 1000, 30, vmapped=False, shuffled=False
    ),
}
