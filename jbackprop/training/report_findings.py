"""What a trained network gets wrong and what its first layer looks like, found by running it once more."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jbackprop.training import objective
from jbackprop.training.config import ConfigError, Data
from jbackprop.training.data import DataError, Dataset
from jbackprop.training.evaluate import probabilities
from jbackprop.training.saved_run import SavedRun, load_params, not_finite

MOST_MISTAKES = 24


class Mistake(NamedTuple):
    """A test image `(h, w)` from 0 (paper) to 1, its place in the split, the two classes and their probabilities."""

    image: np.ndarray
    place: int
    truth: int
    said: int
    truth_probability: float
    said_probability: float


class Findings(NamedTuple):
    """What was found, None where it could not be, and sentences about why not.

    `confusion[truth, said]` counts the test images; `mistakes` are the worst ones first, of `wrong` in all;
    `first_layer` is `(h, w, units)` for dense networks, `(h, w, i, o)` for kernels.
    """

    confusion: np.ndarray | None
    mistakes: tuple[Mistake, ...]
    wrong: int | None
    first_layer: np.ndarray | None
    problems: tuple[str, ...]


def findings(run: SavedRun, load: Callable[[Data], Dataset]) -> Findings:
    """Returns what can be found. `load` is `data.load`, or one that remembers.

    Raises `RunError` where the parameters are not those of the network of `config.toml`.
    """
    kept = _kept_confusion(run)
    if not (run.folder / "params.npz").exists():
        return Findings(
            kept,
            (),
            None,
            None,
            ("The run has no params.npz, which is written at its end: nothing can be said of its answers.",),
        )
    try:
        dataset = load(run.config.data)
        model = objective.of_run(run.config, dataset)
    except (DataError, ConfigError) as error:
        problem = f"The data cannot be loaded, so that no test image can be shown: {error}"
        return Findings(kept, (), None, None, (problem,))
    params = load_params(run.folder, model)
    if bad := not_finite(params):
        return Findings(kept, (), None, None, (f"The parameters {', '.join(bad)} hold values that are not finite.",))
    weights = _first_layer(np.asarray(model.first_layer(params)), dataset.train.images.shape[1:])
    probs = probabilities(model, params, dataset.test.images)
    labels = np.asarray(dataset.test.labels)
    mistakes = worst_mistakes(np.asarray(dataset.test.images) / dataset.white, labels, probs)
    counted = confusion(labels, probs.argmax(-1), dataset.classes)
    return Findings(counted, mistakes, int((probs.argmax(-1) != labels).sum()), weights, ())


def confusion(labels: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """Returns how often class `t` was called `s`, at `[t, s]`.

    >>> confusion(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1, 0], [1, 1]]
    """
    return np.bincount(labels * classes + said, minlength=classes**2).reshape(classes, classes)


def worst_mistakes(images: np.ndarray, labels: np.ndarray, probs: np.ndarray) -> tuple[Mistake, ...]:
    """Returns the wrong answers, those that give the truth least probability first."""
    rows, said = np.arange(len(labels)), probs.argmax(-1)
    order = np.argsort(probs[rows, labels], kind="stable")
    worst = [i for i in order if said[i] != labels[i]][:MOST_MISTAKES]
    return tuple(
        Mistake(
            images[i, ..., 0],
            int(i),
            int(labels[i]),
            int(said[i]),
            float(probs[i, labels[i]]),
            float(probs[i, said[i]]),
        )
        for i in worst
    )


def _first_layer(weights: np.ndarray, image_shape: tuple[int, ...]) -> np.ndarray:
    """Dense weights `(pixels, units)` over the image's first channel; kernels as they are."""
    return weights.reshape(*image_shape, -1)[..., 0, :] if weights.ndim == 2 else weights


def _kept_confusion(run: SavedRun) -> np.ndarray | None:
    """The matrix in `summary.json`, if there is one that is square and of counts."""
    kept: Any = run.summary.get("confusion")
    try:
        matrix = np.asarray(kept)
    except ValueError:  # rows of different lengths
        return None
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] > 0
    return matrix if square and np.issubdtype(matrix.dtype, np.integer) else None
