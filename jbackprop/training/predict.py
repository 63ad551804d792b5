"""One image of a person's through the network of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jbackprop.training import objective
from jbackprop.training.config import Data
from jbackprop.training.data import WHITE, Dataset, Split
from jbackprop.training.evaluate import probabilities
from jbackprop.training.predict_image import LOOK_OF_OTHERS, LOOKS, Prepared, prepare_image
from jbackprop.training.run import RunError
from jbackprop.training.saved_run import SavedRun, class_names, load_params, not_finite


class Prediction(NamedTuple):
    """The image as the network saw it, the classes' names and their probabilities."""

    prepared: Prepared
    names: tuple[str, ...]
    probabilities: np.ndarray


def predict(run: SavedRun, path: Path, load: Callable[[Data], Dataset]) -> Prediction:
    """Returns the network's answer; `load` is `data.load` or `saved_run.loader(folder)`.

    Raises `ImageError`, `RunError`, `ConfigError`, and `DataError` where the mean of all pixels is wanted.
    """
    dataset = data_set(run.config.data, load)
    model = objective.of_run(run.config, dataset)
    params = load_params(run.folder, model)
    if bad := not_finite(params):
        raise RunError(f"{run.folder / 'params.npz'}: {', '.join(bad)} hold values that are not finite")
    prepared = prepare_image(path, LOOKS.get(run.config.data.name, LOOK_OF_OTHERS))
    pixels = np.rint(prepared.ink * dataset.white).astype(np.uint8)[None, :, :, None]
    return Prediction(prepared, class_names(run.config.data.name), probabilities(model, params, jnp.asarray(pixels))[0])


def data_set(config: Data, load: Callable[[Data], Dataset]) -> Dataset:
    """Returns an empty image in place of the data, which the network's sizes follow from; the data themselves where
    their mean and deviation count. Raises `DataError`.
    """
    if config.normalise != "none":
        return load(config)
    side = LOOKS.get(config.name, LOOK_OF_OTHERS).side
    split = Split(jnp.zeros((1, side, side, 1), jnp.uint8), jnp.zeros(1, jnp.int32))
    return Dataset(split, split, len(class_names(config.name)), WHITE[config.name])
