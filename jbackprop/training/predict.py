"""One image of a person's through the network of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jbackprop.training import objective
from jbackprop.training.config import Data
from jbackprop.training.data import WHITE, Dataset, Split
from jbackprop.training.evaluate import probabilities
from jbackprop.training.model import Model
from jbackprop.training.predict_image import LOOK_OF_OTHERS, LOOKS, Prepared, prepare_image
from jbackprop.training.run_error import RunError
from jbackprop.training.saved_run import SavedRun, class_names, fitted, load_params, not_finite


class Prediction(NamedTuple):
    """The image as the network saw it, the classes' names and their probabilities, and whose parameters gave them."""

    prepared: Prepared
    names: tuple[str, ...]
    probabilities: np.ndarray
    parameters: str


def predict(run: SavedRun, path: Path, load: Callable[[Data], Dataset], best: bool = False) -> Prediction:
    """Returns the answer of the network at the end of its training, or of its best checkpoint.

    `load` is `data.load` or `saved_run.loader(folder)`. Raises `ImageError`, `RunError`, `ConfigError`, and `DataError`
    where the mean of all pixels is wanted and the run has not kept it.
    """
    dataset = data_set(run.config.data, load, run.summary.get("pixels"))
    model = objective.of_run(run.config, dataset)
    params, whose = _best(run, model) if best else (load_params(run.folder, model), "at the end of the training")
    if bad := not_finite(params):
        raise RunError(f"{run.folder / 'params.npz'}: {', '.join(bad)} hold values that are not finite")
    prepared = prepare_image(path, LOOKS.get(run.config.data.name, LOOK_OF_OTHERS))
    pixels = np.rint(prepared.ink * dataset.white).astype(np.uint8)[None, :, :, None]
    names = class_names(run.config.data.name)
    return Prediction(prepared, names, probabilities(model, params, jnp.asarray(pixels))[0], whose)


def _best(run: SavedRun, model: Model) -> tuple[Any, str]:
    from jbackprop.training.checkpoint import best_params

    best, arrays = best_params(run.folder)
    if run.config.seeds > 1:
        arrays = {path: leaf[0] for path, leaf in arrays.items()}  # as in params.npz
    params = fitted(run.folder / "checkpoints" / best["checkpoint"], arrays, model)
    return params, f"after epoch {best['checkpoint']}, of the best test accuracy, {best['test_accuracy']:.2%}"


def data_set(config: Data, load: Callable[[Data], Dataset], pixels: Any = None) -> Dataset:
    """Returns an empty image in place of the data, which the network's sizes follow from, with the mean and deviation
    in `pixels`, which a run keeps in its summary; where they count and are not there, the data. Raises `DataError`.
    """
    if config.normalise != "none" and pixels is None:
        return load(config)
    side = LOOKS.get(config.name, LOOK_OF_OTHERS).side
    split = Split(jnp.zeros((1, side, side, 1), jnp.uint8), jnp.zeros(1, jnp.int32))
    empty = Dataset(split, split, len(class_names(config.name)), WHITE[config.name])
    if pixels is None:
        return empty
    try:
        return empty._replace(mean=float(pixels["mean"]), std=float(pixels["std"]))
    except (TypeError, KeyError, ValueError) as error:
        raise RunError(f"summary.json: damaged (pixels is {pixels!r}, wanted mean and std)") from error
