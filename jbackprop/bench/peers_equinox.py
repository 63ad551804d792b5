"""Equinox, as its examples write a training step: a module of one example, `vmap`, `filter_jit`."""

from typing import Any

import jax
import jax.numpy as jnp

from jbackprop.bench.peers import RATE, Epoch, Peers, Task, looped
from jbackprop.bench.peers_layers import blocks_of, channels_first, widths_and_activation


def equinox_peers() -> Peers:
    """Returns it by name."""
    return {"equinox": _equinox}


def _equinox(task: Task) -> Epoch:
    import equinox as eqx  # pyright: ignore[reportMissingImports]
    import optax

    kernels, dense, batches = channels_first(task)
    blocks = blocks_of(task)
    _, activation = widths_and_activation(task)
    key = jax.random.key(0)

    class Net(eqx.Module):
        conv: list[Any]
        pool: list[Any]
        dense: list[Any]

        def __call__(self, x: Any) -> Any:
            for layer, pool in zip(self.conv, self.pool, strict=True):
                x = pool(jax.nn.relu(layer(x)))
            x = jnp.ravel(x)
            for layer in self.dense[:-1]:
                x = getattr(jax.nn, activation)(layer(x))
            return self.dense[-1](x)

    def filled(layer: Any, w: Any, b: Any) -> Any:
        return eqx.tree_at(lambda layer: (layer.weight, layer.bias), layer, (w, b.reshape(layer.bias.shape)))

    net = Net(
        [
            filled(eqx.nn.Conv2d(w.shape[1], w.shape[0], w.shape[2], padding=block.padding, key=key), w, b)
            for (w, b), block in zip(kernels, blocks, strict=True)
        ],
        [eqx.nn.MaxPool2d(block.window, block.window) for block in blocks],
        [filled(eqx.nn.Linear(w.shape[1], w.shape[0], key=key), w, b) for w, b in dense],
    )
    tx = optax.sgd(RATE)

    def loss(net: Any, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(net)(x), y).mean()

    @eqx.filter_jit
    def step(state: Any, x: Any, y: Any) -> Any:
        net, opt_state = state
        value, grads = eqx.filter_value_and_grad(loss)(net, x, y)
        updates, opt_state = tx.update(grads, opt_state, net)
        return (eqx.apply_updates(net, updates), opt_state), value

    return looped(step, (net, tx.init(eqx.filter(net, eqx.is_array))), batches)
