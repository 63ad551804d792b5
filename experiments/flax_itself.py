"""What does flax's own MNIST example reach over several seeds? The program of examples/mnist, over all test images.

    python -m experiments.flax_itself [--seeds 3] [--data.dir FOLDER]

flax's module, flax's initial weights, optax's momentum and jax.grad: of this project only the reading of the data, the
counting and a compiler option take part. It says whether `mnist_flax_cnn` of `published_results.py` falls short of the
published figure, or the figure of one run. Writes results/flax_itself.json and its sentence in experiments/README.md.
Needs `pip install 'jbackprop[bench]'`; five minutes a seed on two CPU cores.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import another_program
from jbackprop.compiler_options import THREADED, refusal
from jbackprop.training import data

EPOCHS, BATCH, LEARNING_RATE, MOMENTUM = 10, 128, 0.1, 0.9


def flax_network() -> Any:
    """Returns the network of the example."""
    # of the extra `bench`; what is said of the kept results needs none
    from flax import linen as nn  # pyright: ignore[reportMissingImports]

    class CNN(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            for features in (32, 64):
                x = nn.avg_pool(nn.relu(nn.Conv(features, (3, 3))(x)), (2, 2), (2, 2))
            x = nn.relu(nn.Dense(256)(x.reshape(len(x), -1)))
            return nn.Dense(10)(x)

    return CNN()


def trained(seed: int, dataset: data.Dataset) -> np.ndarray:
    """Returns the shares of the test images that are recognised after the last epoch, of each digit and of all."""
    tx, options = optax.sgd(LEARNING_RATE, MOMENTUM), None if refusal() else THREADED
    key, start = jax.random.split(jax.random.key(seed))
    network = flax_network()
    params = network.init(start, jnp.ones((1, 28, 28, 1)))

    def logits_of(params: Any, images: jax.Array) -> Any:
        return network.apply(params, images / jnp.float32(255))

    def cost(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy(logits_of(params, images), jax.nn.one_hot(labels, 10)).mean()

    def step(state: tuple[Any, Any], images: jax.Array, labels: jax.Array) -> tuple[Any, Any]:
        params, opt_state = state
        updates, opt_state = tx.update(jax.grad(cost)(params, images, labels), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    run = jax.jit(step, donate_argnums=0, compiler_options=options)
    state, (images, labels) = (params, tx.init(params)), map(np.asarray, dataset.train)
    for epoch in range(EPOCHS):
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), len(labels)))
        for rows in order[: len(order) // BATCH * BATCH].reshape(-1, BATCH):
            state = run(state, images[rows], labels[rows])
    predict = jax.jit(lambda images: logits_of(state[0], images).argmax(-1))
    blocks = np.split(np.asarray(dataset.test.images), 10)
    return another_program.shares(np.concatenate([predict(block) for block in blocks]), np.asarray(dataset.test.labels))


def in_words(found: dict[str, Any]) -> str:
    accuracies = np.array(found["accuracies"])
    spread = f" ± {accuracies.std(ddof=1):.2%}" if len(accuracies) > 1 else ""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return (
        f"flax's own example ([program](flax_itself.py)), by flax, optax and jax.grad, over all test images: "
        f"{accuracies.mean():.2%}{spread} ({len(accuracies)} seeds, {accuracies.min():.2%} to {accuracies.max():.2%}). "
        f"{found['date']}, {found['device']}, {versions}."
    )


if __name__ == "__main__":
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    another_program.run("flax", "flax_itself", __doc__, 3, trained, in_words, packages)
