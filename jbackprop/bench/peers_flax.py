"""Flax linen and flax nnx, as the guides of flax write a training step."""

from typing import Any

import jax

from jbackprop.bench.peers import RATE, Epoch, Peers, Task, looped
from jbackprop.networks.cnn_sizes import Sizes


def flax_peers() -> Peers:
    """Returns both by name."""
    return {"flax linen": _linen, "flax nnx": _nnx}


def widths_and_activation(task: Task) -> tuple[list[int], str]:
    """Returns the widths of the dense layers after the first input, and the activation between them."""
    sizes = task.model.sizes
    if isinstance(sizes, Sizes):
        return list(sizes.dense), "relu"
    return list(sizes[1:]), "sigmoid" if task.model.name == "two_layer" else "relu"


def layers_of(task: Task) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
    """Returns weights and biases of the convolutions and of the dense layers."""
    params = task.params
    if task.model.name == "two_layer":
        return [], [(params["w1"], params["b1"]), (params["w2"], params["b2"])]
    dense = params["dense"] if isinstance(params, dict) else params
    conv = params["conv"] if isinstance(params, dict) else []
    return [(layer["w"], layer["b"]) for layer in conv], [(layer["w"], layer["b"]) for layer in dense]


def _linen(task: Task) -> Epoch:
    import optax
    from flax import linen as nn  # pyright: ignore[reportMissingImports]
    from flax.training.train_state import TrainState  # pyright: ignore[reportMissingImports]

    widths, activation = widths_and_activation(task)
    blocks = task.model.sizes.blocks if isinstance(task.model.sizes, Sizes) else ()

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for block in blocks:
                x = nn.relu(nn.Conv(block.features, (block.kernel, block.kernel), padding=block.padding)(x))
                x = nn.max_pool(x, (block.window, block.window), (block.window, block.window))
            x = x.reshape((x.shape[0], -1))
            for width in widths[:-1]:
                x = getattr(nn, activation)(nn.Dense(width)(x))
            return nn.Dense(widths[-1])(x)

    net = Net()
    conv, dense = layers_of(task)
    params = {f"Conv_{i}": {"kernel": w, "bias": b} for i, (w, b) in enumerate(conv)}
    params |= {f"Dense_{i}": {"kernel": w, "bias": b} for i, (w, b) in enumerate(dense)}
    state = TrainState.create(apply_fn=net.apply, params=params, tx=optax.sgd(RATE))

    @jax.jit
    def step(state: Any, x: Any, y: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = state.apply_fn({"params": params}, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits=logits, labels=y).mean()

        value, grads = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=grads), value

    return looped(step, state, task.batches)


def _nnx(task: Task) -> Epoch:
    import optax
    from flax import nnx  # pyright: ignore[reportMissingImports]

    _, activation = widths_and_activation(task)
    blocks = task.model.sizes.blocks if isinstance(task.model.sizes, Sizes) else ()
    conv, dense = layers_of(task)

    class Net(nnx.Module):
        def __init__(self, rngs: Any):
            self.conv = nnx.List(
                [
                    nnx.Conv(w.shape[2], w.shape[3], w.shape[:2], padding=block.padding, rngs=rngs)
                    for (w, _), block in zip(conv, blocks, strict=True)
                ]
            )
            self.dense = nnx.List([nnx.Linear(*w.shape, rngs=rngs) for w, _ in dense])

        def __call__(self, x: Any) -> Any:
            for layer, block in zip(self.conv, blocks, strict=True):
                x = nnx.max_pool(nnx.relu(layer(x)), (block.window, block.window), (block.window, block.window))
            x = x.reshape((x.shape[0], -1))
            for layer in self.dense[:-1]:
                x = getattr(nnx, activation)(layer(x))
            return self.dense[-1](x)

    net = Net(nnx.Rngs(0))
    for layer, (w, b) in [*zip(net.conv, conv, strict=True), *zip(net.dense, dense, strict=True)]:
        layer.kernel[...], layer.bias[...] = w, b
    optimizer = nnx.Optimizer(net, optax.sgd(RATE), wrt=nnx.Param)

    def loss(net: Any, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(logits=net(x), labels=y).mean()

    @nnx.jit
    def train_step(net: Any, optimizer: Any, x: Any, y: Any) -> Any:
        value, grads = nnx.value_and_grad(loss)(net, x, y)
        optimizer.update(net, grads)
        return value

    return looped(lambda _, x, y: (None, train_step(net, optimizer, x, y)), None, task.batches)
