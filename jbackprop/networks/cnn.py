r"""A convolutional classifier: convolution, ReLU, pooling, repeated; then dense layers and softmax cross-entropy.

Per block, with $\star$ the cross-correlation of `conv2d` and images as rows of a batch (NHWC),

$$z = x \star w + b \qquad a = \mathrm{relu}(z) \qquad x' = \mathrm{pool}(a)$$

then `flatten`, and the layers of `mlp` with ReLU between them. Upwards, the dense layers give the cotangent of the
flattened maps, and each block from the last to the first

$$da = \mathrm{pool\_bwd}(dx') \qquad dz = da \circ 1[z > 0] \qquad
  dw = x \star dz \qquad db = \textstyle\sum_{nuv} dz_{nuv} \qquad dx = \mathrm{pad}(dz) \star \mathrm{rot180}(w)$$

Shapes: `x` `(n, height, width, channels)`; kernels `(k, k, i, o)`; dense weights `(i, o)`; labels integers `(n,)` or
probabilities `(n, classes)`.
Source: JACOBIAN, CNN example, for one channel and one image; batches, channels and padding are those of `conv2d`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jbackprop.layers.avg_pool import avg_pool, avg_pool_bwd, avg_pool_fwd
from jbackprop.layers.conv2d import Residuals as ConvResiduals
from jbackprop.layers.conv2d import conv2d, conv2d_bwd, conv2d_fwd
from jbackprop.layers.flatten import Residuals as FlattenResiduals
from jbackprop.layers.flatten import flatten, flatten_bwd, flatten_fwd
from jbackprop.layers.max_pool import max_pool, max_pool_bwd, max_pool_fwd
from jbackprop.layers.relu import Residuals as ReluResiduals
from jbackprop.layers.relu import relu, relu_bwd, relu_fwd
from jbackprop.layers.softmax_cross_entropy import Labels
from jbackprop.networks import mlp
from jbackprop.networks.cnn_checks import check_arguments
from jbackprop.networks.cnn_sizes import NAMED as NAMED
from jbackprop.networks.cnn_sizes import Block as Block
from jbackprop.networks.cnn_sizes import Sizes as Sizes
from jbackprop.networks.cnn_sizes import chosen_sizes, feature_maps, flattened_width
from jbackprop.networks.costs import CROSS_ENTROPY
from jbackprop.networks.initial import normal_weights
from jbackprop.networks.rule import Rule, bind

Params = dict[str, list[dict[str, Array]]]


class BlockResiduals(NamedTuple):
    """What the convolution, the ReLU and the pooling of one block save."""

    conv: ConvResiduals
    relu: ReluResiduals
    pool: Any


class Residuals(NamedTuple):
    """What each block saves, from the bottom up, then the flattening and the dense layers."""

    blocks: list[BlockResiduals]
    flatten: FlattenResiduals
    dense: mlp.Residuals


def init(key: jax.Array, sizes: Sizes | str = "digits", dtype: DTypeLike = jnp.float32) -> Params:
    """Returns `{"conv": [{"w", "b"}, ...], "dense": [{"w", "b"}, ...]}`.

    Weights from N(0, 2/fan-in) where a ReLU follows, the last from N(0, 1/fan-in); zero biases.
    Raises: ValueError for an unknown name.

    >>> params = init(jax.random.key(0), "lenet")
    >>> [layer["w"].shape for layer in params["conv"] + params["dense"]]
    [(5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)]
    """
    sizes = chosen_sizes(sizes)
    key_dense, *keys = jax.random.split(key, 1 + len(sizes.blocks))
    channels = [shape[-1] for shape in feature_maps(sizes)]
    conv = [
        {
            "w": normal_weights(key_l, (block.kernel, block.kernel, i, block.features), dtype, followed_by="relu"),
            "b": jnp.zeros(block.features, dtype),
        }
        for key_l, block, i in zip(keys, sizes.blocks, channels[:-1], strict=True)
    ]
    return {"conv": conv, "dense": mlp.init(key_dense, (flattened_width(sizes), *sizes.dense), dtype)}


def forward(
    params: Params, x: Float[Array, "n h w c"], sizes: Sizes | str = "digits"
) -> tuple[Float[Array, "n k"], Residuals]:
    """Returns the logits and what the backward pass reads; raises ValueError for what does not have these sizes."""
    sizes = chosen_sizes(sizes)
    check_arguments(params, x, sizes)
    saved = []
    for layer, block in zip(params["conv"], sizes.blocks, strict=True):
        z, saved_conv = conv2d_fwd(x, layer["w"], layer["b"], 1, block.padding)
        a, saved_relu = relu_fwd(z)
        x, saved_pool = _pool(sizes, block).fwd(a)
        saved.append(BlockResiduals(saved_conv, saved_relu, saved_pool))
    flat, saved_flatten = flatten_fwd(x)
    logits, saved_dense = mlp.forward(params["dense"], flat)
    return logits, Residuals(saved, saved_flatten, saved_dense)


def backward(params: Params, residuals: Residuals, d_out: Float[Array, "n k"], sizes: Sizes | str = "digits") -> Params:
    """Returns the gradients of `params` for the cotangent of the logits: `forward` read upwards."""
    sizes = chosen_sizes(sizes)
    dense, dflat = mlp.backward_to_input(residuals.dense, d_out)
    (dx,) = flatten_bwd(residuals.flatten, dflat)
    conv = []
    for saved, block in zip(reversed(residuals.blocks), reversed(sizes.blocks), strict=True):
        (da,) = _pool(sizes, block).bwd(saved.pool, dx)
        (dz,) = relu_bwd(0.0, saved.relu, da)
        dx, dw, db = conv2d_bwd(1, block.padding, 1, 1, saved.conv, dz)
        conv.append({"w": dw, "b": db})
    return {"conv": conv[::-1], "dense": dense}


def loss(
    params: Params,
    x: Float[Array, "n h w c"],
    y: Labels,
    sizes: Sizes | str = "digits",
    cost: Rule = CROSS_ENTROPY,
) -> Float[Array, ""]:
    """Returns the mean cross-entropy, or another of `costs`, composed of the decorated layers, for `jax.grad`."""
    sizes = chosen_sizes(sizes)
    check_arguments(params, x, sizes)
    for layer, block in zip(params["conv"], sizes.blocks, strict=True):
        z = conv2d(x, layer["w"], layer["b"], 1, block.padding)
        a = relu(z)
        x = _pool(sizes, block).f(a)
    return mlp.loss(params["dense"], flatten(x), y, cost=cost)


def loss_and_grads(
    params: Params,
    x: Float[Array, "n h w c"],
    y: Labels,
    sizes: Sizes | str = "digits",
    cost: Rule = CROSS_ENTROPY,
) -> tuple[Float[Array, ""], Params]:
    """Returns the loss and its gradients by the explicit backward pass; no automatic differentiation inside.

    >>> sizes = Sizes((6, 6, 1), (Block(features=2, kernel=3),), dense=(3,), pool="avg")
    >>> params = init(jax.random.key(0), sizes)
    >>> J, grads = loss_and_grads(params, jnp.ones((5, 6, 6, 1)), jnp.array([0, 1, 2, 0, 1]), sizes)
    >>> grads["conv"][0]["w"].shape, grads["dense"][0]["w"].shape
    ((3, 3, 1, 2), (8, 3))
    """
    logits, residuals = forward(params, x, sizes)
    J, saved_cost = cost.fwd(logits, y)
    dlogits, _dy = cost.bwd(saved_cost, jnp.ones_like(J))
    return J, backward(params, residuals, dlogits, sizes)


def _pool(sizes: Sizes, block: Block) -> Rule:
    if sizes.pool == "max":
        return bind(max_pool, max_pool_fwd, max_pool_bwd, window=block.window)
    return bind(avg_pool, avg_pool_fwd, avg_pool_bwd, window=block.window)
