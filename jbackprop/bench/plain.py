"""Losses of whole networks as a user would write them without this library: plain `jnp`, `jax.nn` and `lax`.

They take the parameters of `jbackprop.networks`, and JAX differentiates them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jbackprop.networks.cnn_sizes import Sizes
from jbackprop.verify.benchmarks import cross_entropy_of_optax

Loss = Callable[..., jax.Array]


def two_layer(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the mean cross-entropy of sigmoid(x w1 + b1) w2 + b2."""
    a = jax.nn.sigmoid(x @ params["w1"] + params["b1"])
    return cross_entropy_of_optax(a @ params["w2"] + params["b2"], y)


def mlp(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the mean cross-entropy of a ReLU network."""
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return cross_entropy_of_optax(x @ params[-1]["w"] + params[-1]["b"], y)


def deep_in_scan(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the mean squared error of T layers of one width, stacked and run through `lax.scan`."""
    z, _ = lax.scan(lambda z, w: (jax.nn.relu(z @ w), None), x, params["layers"])
    return jnp.mean((z @ params["alpha"] - y) ** 2)


def deep_in_loop(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the same by a Python loop, over a list of matrices or over a stack that it slices."""
    for w in params["layers"]:
        x = jax.nn.relu(x @ w)
    return jnp.mean((x @ params["alpha"] - y) ** 2)


def cnn(sizes: Sizes) -> Loss:
    """Returns the mean cross-entropy of convolutions, ReLU and max pooling, then of a ReLU network."""

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        for layer, block in zip(params["conv"], sizes.blocks, strict=True):
            z = convolution(x, layer["w"], block.padding) + layer["b"]
            window = (1, block.window, block.window, 1)
            x = lax.reduce_window(jax.nn.relu(z), -jnp.inf, lax.max, window, window, "VALID")
        return mlp(params["dense"], x.reshape(len(x), -1), y)

    return loss


def convolution(x: jax.Array, w: jax.Array, padding: str = "SAME") -> jax.Array:
    """Returns `lax.conv_general_dilated` for NHWC and HWIO."""
    return lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
