"""From a prepared tensorflow-datasets folder to arrays on the device."""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jbackprop.training.config import ConfigError, Data
from jbackprop.training.split import DataError as DataError
from jbackprop.training.split import Split as Split
from jbackprop.training.split import blocks, columns, only, streams

INFO = "dataset_info.json"  # written last of all
ON_DEVICE = Data().on_device_bytes
CLASSES = 10  # of every data set
WHITE = {"digits": 16.0, "mnist": 255.0, "fashion_mnist": 255.0, "kmnist": 255.0}  # the pixel that becomes 1.0


class Dataset(NamedTuple):
    """A training and a test split, the number of classes, and the pixel value that becomes 1.0.

    Of those numbers the network reads `(pixel - mean) / std`.
    """

    train: Split
    test: Split
    classes: int
    white: float
    mean: float = 0.0
    std: float = 1.0


def default_folder() -> Path:
    """Returns `$XDG_CACHE_HOME/jbackprop/data`, or `~/.cache/jbackprop/data` where the variable is not set."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "jbackprop" / "data"


def load(config: Data) -> Dataset:
    """Returns the configured data set. Raises `DataError`, and `ConfigError` for rows that are not there."""
    if config.name == "digits":
        folder = Path(config.dir).expanduser() if config.dir else default_folder()
        dataset = load_digits(folder, config.on_device_bytes)
    else:
        dataset = load_idx(config.name, config.dir, config.on_device_bytes)
    return chosen(dataset, config)


def chosen(dataset: Dataset, config: Data) -> Dataset:
    """Returns the data set with the training rows and the normalisation that the configuration asks for.

    Raises `ConfigError` for rows that are not there.
    """
    if config.permutation is not None or config.rows is not None:
        dataset = dataset._replace(train=_rows(dataset.train, config.permutation, config.rows))
    return standardised(dataset) if config.normalise == "standard" else dataset


def _rows(split: Split, seed: int | None, rows: tuple[int, int] | None) -> Split:
    examples = split.labels.size
    first, end = rows or (0, examples)
    if end > examples:
        raise ConfigError(f"data.rows: {end} is more than the {examples} training examples", "data.rows")
    order = np.arange(examples) if seed is None else np.random.RandomState(seed).permutation(examples)
    if streams(split):
        return only(split, order[first:end])
    images, labels = (np.asarray(part)[order[first:end]] for part in split)
    return Split(jnp.asarray(images), jnp.asarray(labels))


def standardised(dataset: Dataset) -> Dataset:
    """Returns the data set with the mean and the standard deviation of all pixels of its training images."""
    counts = np.sum([np.bincount(block.images.ravel(), minlength=256) for block in blocks(dataset.train)], axis=0)
    values = np.arange(256) / dataset.white
    mean = float(counts @ values / counts.sum())
    return dataset._replace(mean=mean, std=float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())))


def load_idx(name: str, data_dir: str | None, on_device: int = ON_DEVICE) -> Dataset:
    """Returns `mnist`, `fashion_mnist` or `kmnist` of the first source that has it (`sources.prepared`).

    Training images of more than `on_device` bytes stay in their files (`split.columns`). Raises `DataError`.
    """
    from jbackprop.training.sources import prepared  # 0.4 s: tensorflow-datasets

    return _of(name, prepared(name, data_dir), on_device)


def load_digits(folder: Path, on_device: int = ON_DEVICE) -> Dataset:
    """Returns the digits of `training/digits.py`, prepared in `folder` on the first call.

    Raises `DataError` where the folder cannot be written or what it holds is not the data set.
    """
    from jbackprop.training.sources import digits  # 0.4 s: tensorflow-datasets

    return _of("digits", digits(folder), on_device)


def _of(name: str, builder: Any, on_device: int) -> Dataset:
    from jbackprop.training.records import arrays

    test = Split(*map(jnp.asarray, arrays(builder, "test")))
    train = in_files(builder, on_device) or Split(*map(jnp.asarray, arrays(builder, "train")))
    return Dataset(train, test, classes=CLASSES, white=WHITE[name])


def in_files(builder: Any, on_device: int) -> Split | None:
    """Returns the training split as it lies in its files where its images have more than `on_device` bytes."""
    size = builder.info.splits["train"].num_examples * math.prod(builder.info.features["image"].shape)
    if size <= on_device:
        return None
    return columns(builder, "train")
