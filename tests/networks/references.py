"""Each registered network as a user would write its loss without this library: plain `jnp`, `jax.nn` and `lax`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jbackprop.verify import network_cases

PLAIN: dict[str, Callable] = {
    "identity": lambda z: z,
    "relu": jax.nn.relu,
    "relu_one_at_zero": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
}


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()


def regression(params, x, y, sigma=lambda h: h):
    if "w" in params:
        return ((x @ params["w"] + params["b"] - y) ** 2).mean()
    return ((sigma(x @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"] - y) ** 2).mean()


def two_layer(params, x, y):
    a1 = jax.nn.sigmoid(x @ params["w1"] + params["b1"])
    return cross_entropy(a1 @ params["w2"] + params["b2"], y)


def mlp_logits(params, x, sigma):
    for layer in params[:-1]:
        x = sigma(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def rows(labels, z):
    return jax.nn.one_hot(labels, z.shape[1], dtype=z.dtype)


def quadratic(z, y):
    return ((jax.nn.sigmoid(z) - rows(y, z)) ** 2).sum(1).mean() / 2


def sigmoid_entropies(z, y):
    t, a = rows(y, z), jax.nn.sigmoid(z)
    return -(t * jnp.log(a) + (1 - t) * jnp.log(1 - a)).sum(1).mean()


def deep(params, x, y, sigma):
    for w in params["layers"]:
        x = sigma(x @ w)
    return ((x @ params["alpha"] - y) ** 2).mean()


def pooled(a, window, pool):
    dimensions = (1, window, window, 1)
    if pool == "max":
        return lax.reduce_window(a, -jnp.inf, lax.max, dimensions, dimensions, "VALID")
    return lax.reduce_window(a, 0.0, lax.add, dimensions, dimensions, "VALID") / window**2


def cnn_logits(params, x, sizes):
    for layer, block in zip(params["conv"], sizes.blocks, strict=True):
        z = lax.conv_general_dilated(x, layer["w"], (1, 1), block.padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = pooled(jax.nn.relu(z + layer["b"]), block.window, sizes.pool)
    return mlp_logits(params["dense"], x.reshape(x.shape[0], -1), jax.nn.relu)


def residual_graph(params, x, y):
    a1 = jax.nn.relu(x @ params["w1"] + params["b1"] + x)
    s = a1 @ params["w2"] + params["b2"] + a1
    return cross_entropy(s @ params["w3"] + params["b3"], y)


def diamond_graph(params, x, y):
    u = x @ params["w"]
    return ((jax.nn.sigmoid(u) + jnp.tanh(u) - y) ** 2).mean()


REFERENCES: dict[str, Callable] = {
    "regression": regression,
    "regression_single": regression,
    "regression_stacked": regression,
    "regression_sigmoid": lambda params, x, y: regression(params, x, y, jax.nn.sigmoid),
    "two_layer": two_layer,
    "mlp": lambda params, x, y: cross_entropy(mlp_logits(params, x, jax.nn.relu), y),
    "mlp_tanh": lambda params, x, y: cross_entropy(mlp_logits(params, x, jnp.tanh), y),
    "mlp_gelu": lambda params, x, y: cross_entropy(mlp_logits(params, x, jax.nn.gelu), y),
    "mlp_quadratic": lambda params, x, y: quadratic(mlp_logits(params, x, jax.nn.sigmoid), y),
    "mlp_sigmoid_cross_entropy": lambda params, x, y: sigmoid_entropies(mlp_logits(params, x, jax.nn.sigmoid), y),
    "cnn_max": lambda params, x, y: cross_entropy(cnn_logits(params, x, network_cases.SMALL_CNN), y),
    "cnn_avg": lambda params, x, y: cross_entropy(cnn_logits(params, x, network_cases.SMALL_CNN_AVG), y),
    "deep": lambda params, x, y: deep(params, x, y, jax.nn.relu),
    "deep_sigmoid": lambda params, x, y: deep(params, x, y, jax.nn.sigmoid),
    "deep_silu": lambda params, x, y: deep(params, x, y, jax.nn.silu),
    "deep_widths": lambda params, x, y: deep(params, x, y, jax.nn.relu),
    "graph_residual": residual_graph,
    "graph_diamond": diamond_graph,
}
