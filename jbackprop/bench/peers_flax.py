"""Flax linen and flax nnx, as the guides of flax write a training step."""

from typing import Any

import jax

from jbackprop.bench.peers import RATE, Epoch, Peers, Task, looped
from jbackprop.bench.peers_layers import blocks_of, layers_of, widths_and_activation


def flax_peers() -> Peers:
    """Returns both by name."""
    return {"flax linen": _linen, "flax nnx": _nnx}


def _linen(task: Task) -> Epoch:
    import optax
    from flax import linen as nn  # pyright: ignore[reportMissingImports]
    from flax.training.train_state import TrainState  # pyright: ignore[reportMissingImports]

    widths, activation = widths_and_activation(task)
    blocks = blocks_of(task)

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
    blocks = blocks_of(task)
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
