"""Does Nielsen's chapter 1 lose digits with 100 hidden units by itself? The recipe in NumPy and float64, without JAX.

    python -m experiments.nielsen_in_numpy [--seeds 20] [--data.dir FOLDER]

784-100-10 sigmoid units, weights and biases from N(0, 1), quadratic cost, plain gradient descent at learning rate 3 on
shuffled batches of 10, 30 epochs of the first 50,000 images. Of this project only the reading of the data takes part:
initial weights, shuffling, activations and gradients are NumPy's and this page's, in float64.
Prints the test accuracy and the digits that are lost, and writes results/nielsen_in_numpy.json and its sentence in
experiments/README.md. Half a minute a seed on one CPU core.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from experiments import another_program
from experiments.published_results import lost_by_seed
from jbackprop.training import data

SIZES = (784, 100, 10)
EPOCHS, BATCH, LEARNING_RATE, TRAINING = 30, 10, 3.0, 50_000

Layer = tuple[np.ndarray, np.ndarray]  # W (inputs, units) and b (units,)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))


def descend(layers: list[Layer], x: np.ndarray, y: np.ndarray) -> None:
    """One step down the mean over the batch of `half |a - y|²`, in place."""
    activations = [x]
    for w, b in layers:
        activations.append(sigmoid(activations[-1] @ w + b))
    d_a = (activations[-1] - y) / len(x)
    for layer in reversed(range(len(layers))):
        (w, b), before, a = layers[layer], activations[layer], activations[layer + 1]
        d_z = d_a * a * (1 - a)
        d_a = d_z @ w.T if layer else None
        w -= LEARNING_RATE * before.T @ d_z
        b -= LEARNING_RATE * d_z.sum(0)


def recognised(layers: list[Layer], x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the share of each digit's images that the network recognises, and their share of all, as (10,) each."""
    for w, b in layers:
        x = sigmoid(x @ w + b)
    return another_program.shares(x.argmax(1), labels)


def trained(seed: int, dataset: data.Dataset) -> np.ndarray:
    """Returns `recognised` of the test images after the last epoch."""
    rng = np.random.default_rng(seed)
    x, x_test = (np.asarray(s.images).reshape(-1, 784) / 255 for s in (dataset.train, dataset.test))
    labels = np.asarray(dataset.train.labels)
    layers = [(rng.standard_normal((n, m)), rng.standard_normal(m)) for n, m in pairwise(SIZES)]
    for _ in range(EPOCHS):
        for batch in rng.permutation(TRAINING).reshape(-1, BATCH):
            descend(layers, x[batch], np.eye(10)[labels[batch]])
    return recognised(layers, x_test, np.asarray(dataset.test.labels))


def in_words(found: dict[str, Any]) -> str:
    """Returns how many seeds lost a digit, and what the two kinds of run reach."""
    kinds: tuple[list[float], list[float]] = ([], [])
    for accuracy, classes in zip(found["accuracies"], lost_by_seed(found), strict=True):
        kinds[bool(classes)].append(accuracy)
    whole, lost = (f"{np.mean(kind):.2%} ({min(kind):.2%} to {max(kind):.2%})" if kind else "-" for kind in kinds)
    return (
        f"The same recipe with 100 hidden units in NumPy and float64, without JAX and without this "
        f"project's rules ([program](nielsen_in_numpy.py)): of {len(found['accuracies'])} seeds {len(kinds[1])} lose a "
        f"digit and reach {lost}; the other {len(kinds[0])} reach {whole}. {found['date']}, {found['device']}, numpy "
        f"{found['versions']['numpy']}."
    )


if __name__ == "__main__":
    another_program.run("nielsen", "nielsen_in_numpy", __doc__, 20, trained, in_words, ("numpy",))
