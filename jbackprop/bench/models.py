"""The networks that are measured: their sizes, a batch, the gradient written out, and the same loss in plain JAX."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from jbackprop.bench import plain
from jbackprop.networks import cnn, deep, mlp, two_layer

MORE = {"small": 1, "medium": 4, "large": 16}  # times the batch

# Two convolutions and two dense layers: the network of TensorFlow's MNIST tutorial for experts.
TUTORIAL_CNN = cnn.Sizes((28, 28, 1), (cnn.Block(32, 5, "SAME"), cnn.Block(64, 5, "SAME")), dense=(1024, 10))


@dataclass(frozen=True)
class Model:
    """One network: `loss_and_grads` is its explicit backward pass, `loss` its rules, `plain` what JAX differentiates.

    `products(n)` are the multiply-adds of a training step on n examples: three products a layer, two in the first,
    whose input needs no gradient.
    """

    name: str
    sizes: Any
    batch_size: int
    image: tuple[int, ...]
    loss_and_grads: Callable[..., tuple[jax.Array, Any]]
    loss: Callable[..., jax.Array]
    plain: Callable[..., jax.Array]
    init: Callable[[jax.Array, DTypeLike], Any]
    products: Callable[[int], int]
    classes: int | None

    @property
    def label(self) -> str:
        """The widths, or the kernels of a convolutional network."""
        if isinstance(self.sizes, cnn.Sizes):
            blocks = [f"{block.kernel}x{block.kernel}x{block.features}, pool" for block in self.sizes.blocks]
            return ", ".join([*blocks, *map(str, self.sizes.dense)])
        if len(set(self.sizes)) == 1:
            return f"T = {len(self.sizes) - 1}, K = {self.sizes[0]}"
        return "-".join(map(str, self.sizes))

    def batch(self, examples: int, dtype: DTypeLike, seed: int = 0) -> tuple[jax.Array, jax.Array]:
        """Returns normal inputs, and class indices or, where there are no classes, normal targets."""
        rng = np.random.default_rng(seed)
        x = jnp.asarray(rng.standard_normal((examples, *self.image), np.float32), dtype)
        if self.classes is None:
            return x, jnp.asarray(rng.standard_normal(examples), dtype)
        return x, jnp.asarray(rng.integers(0, self.classes, examples), jnp.int32)


def dense_products(widths: tuple[int, ...], n: int, input_gradient: bool = False) -> int:
    """Returns the multiply-adds of one training step of layers of these widths.

    >>> dense_products((784, 300, 10), 1)  # 2 * 784 * 300 + 3 * 300 * 10
    479400
    """
    pairs = [i * o for i, o in itertools.pairwise(widths)]
    return n * (3 * sum(pairs) - (0 if input_gradient else pairs[0]))


def cnn_products(sizes: cnn.Sizes, n: int) -> int:
    """Returns the multiply-adds of one training step, those with the padding counted."""
    maps = cnn.feature_maps(sizes)
    pairs = []
    for (height, width, i), block in zip(maps[:-1], sizes.blocks, strict=True):
        lost = 0 if block.padding == "SAME" else block.kernel - 1
        pairs.append((height - lost) * (width - lost) * block.kernel**2 * i * block.features)
    dense = dense_products((cnn.flattened_width(sizes), *sizes.dense), n, input_gradient=True)
    return n * (3 * sum(pairs) - pairs[0]) + dense


def two_layer_model(sizes: tuple[int, int, int] = (784, 300, 10), batch_size: int = 1000) -> Model:
    """Returns the sigmoid classifier of TWO-LAYER."""
    return _dense_model("two_layer", two_layer, plain.two_layer, sizes, batch_size)


def mlp_model(sizes: tuple[int, ...] = (784, 512, 512, 10), batch_size: int = 128) -> Model:
    """Returns a ReLU network."""
    return _dense_model("mlp", mlp, plain.mlp, sizes, batch_size)


def _dense_model(
    name: str, network: ModuleType, plain_loss: Callable[..., jax.Array], sizes: tuple[int, ...], batch_size: int
) -> Model:
    return Model(
        name,
        sizes,
        batch_size,
        (sizes[0],),
        network.loss_and_grads,
        network.loss,
        plain_loss,
        lambda key, dtype: network.init(key, sizes, dtype),
        lambda n: dense_products(sizes, n),
        sizes[-1],
    )


def cnn_model(sizes: cnn.Sizes = TUTORIAL_CNN, batch_size: int = 64) -> Model:
    """Returns a convolutional network with max pooling."""
    return Model(
        "cnn",
        sizes,
        batch_size,
        sizes.image,
        partial(cnn.loss_and_grads, sizes=sizes),
        partial(cnn.loss, sizes=sizes),
        plain.cnn(sizes),
        lambda key, dtype: cnn.init(key, sizes, dtype),
        partial(cnn_products, sizes),
        sizes.dense[-1],
    )


def deep_model(layers: int = 64, width: int = 512, batch_size: int = 64) -> Model:
    """Returns the network of DEEP with its layers stacked."""
    sizes = (width,) * (layers + 1)
    return Model(
        "deep",
        sizes,
        batch_size,
        (width,),
        deep.loss_and_grads,
        deep.loss,
        plain.deep_in_scan,
        lambda key, dtype: deep.init(key, sizes, dtype),
        lambda n: dense_products(sizes, n) + 3 * n * width,
        None,
    )
