"""A run's folder read back: what `jbackprop report` and `jbackprop predict` start from."""

import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec
import numpy as np

from jbackprop.training import config as configs
from jbackprop.training import data
from jbackprop.training.config import Config, Data
from jbackprop.training.data import CLASSES, Dataset
from jbackprop.training.model import Model
from jbackprop.training.run_error import RunError


class SavedRun(NamedTuple):
    """The files of a run. What the run did not get to is empty; `notes` say what is incomplete."""

    folder: Path
    config: Config
    rows: tuple[dict[str, Any], ...]
    summary: dict[str, Any]
    certificate: dict[str, Any]
    notes: tuple[str, ...]


def read_run(folder: Path) -> SavedRun:
    """Returns what the folder of a run holds. Raises `RunError` or `ConfigError` naming the damaged file and line."""
    config = read_config(folder)
    rows, notes = _rows(folder / "metrics.jsonl")
    return SavedRun(
        folder,
        config,
        rows,
        _object(folder / "summary.json"),
        _object(folder / "certificate.json"),
        notes,
    )


def read_config(folder: Path) -> Config:
    """Returns the configuration of a run. Raises `RunError` where the folder is not that of one."""
    if not folder.is_dir():
        raise RunError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    if not (folder / "config.toml").is_file():
        inside = sorted(path.parent for path in folder.glob("*/config.toml"))
        hint = f"; did you mean {inside[-1]}?" if inside else ""
        raise RunError(f"{folder} is not the folder of a run: it has no config.toml{hint}")
    return configs.read(folder / "config.toml")


def loader(folder: str | None) -> Callable[[Data], Dataset]:
    """Returns `data.load` with another folder of IDX files than the run had, where one is given; it remembers."""

    @cache
    def load(config: Data) -> Dataset:
        elsewhere = folder and config.name != "digits"  # which needs no files
        return data.load(msgspec.structs.replace(config, dir=folder) if elsewhere else config)

    return load


def load_params(folder: Path, model: Model) -> Any:
    """Returns the parameters in `params.npz` as the network's own tree.

    Raises `RunError` where an array is missing, unknown or of another shape or dtype than the network's.
    """
    path = folder / "params.npz"
    return fitted(path, _arrays(path), model)


def fitted(path: Path, arrays: Mapping[str, np.ndarray], model: Model) -> Any:
    """Returns the arrays in `path` as the network's own tree. Raises `RunError` as `load_params` does."""
    wanted, tree = jax.tree_util.tree_flatten_with_path(jax.eval_shape(model.init, jax.random.key(0)))
    names = [jax.tree_util.keystr(place, simple=True, separator="/") for place, _ in wanted]
    for words, wrong in (("lacks", set(names) - set(arrays)), ("has the unknown", set(arrays) - set(names))):
        if wrong:
            raise RunError(f"{path} {words} {', '.join(sorted(wrong))}: not the network of config.toml")
    for name, (_, leaf) in zip(names, wanted, strict=True):
        found = arrays[name]
        if (found.shape, found.dtype) != (leaf.shape, leaf.dtype):
            found, leaf = f"{found.dtype}{list(found.shape)}", f"{leaf.dtype}{list(leaf.shape)}"
            raise RunError(f"{path}: {name} is {found}, but the network of config.toml wants {leaf}")
    return jax.tree.unflatten(tree, [jax.numpy.asarray(arrays[name]) for name in names])


def not_finite(params: Any) -> list[str]:
    """Returns the paths of the parameters that hold NaN or infinity.

    >>> not_finite({"w": np.array([1.0, np.nan]), "b": np.zeros(2)})
    ['w']
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    bad = [path for path, leaf in leaves if not np.isfinite(np.asarray(leaf)).all()]
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path in bad]


def class_names(name: str) -> tuple[str, ...]:
    """Returns the names of a data set's classes."""
    if name == "digits":
        return tuple(map(str, range(CLASSES)))
    from jbackprop.training.mnist import BUILDERS  # 0.4 s: tensorflow-datasets

    return BUILDERS[name].LABELS


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise RunError(f"{path.parent} has no {path.name}, which a run writes at its end")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:  # np.load leaves damaged files open
            return dict(arrays)
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _rows(path: Path) -> tuple[tuple[dict[str, Any], ...], tuple[str, ...]]:
    """The rows, and a note where the last one was cut off while it was written."""
    if not path.exists():
        return (), ()
    *whole, rest = _bytes(path).split(b"\n")
    rows = [_row(path, number, line) for number, line in enumerate(whole, 1)]
    if not rest:
        return tuple(rows), ()
    try:
        return (*rows, _row(path, len(whole) + 1, rest)), ()
    except RunError:
        return tuple(rows), (f"{path.name}: its last line was cut off, and is left out",)


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:  # not JSON, or not UTF-8
        raise RunError(f"{path}, line {number}: damaged ({error})") from error
    if not isinstance(row, dict) or type(row.get("epoch")) is not int:
        raise RunError(f"{path}, line {number}: damaged (no object with a whole number `epoch`)")
    for key, value in row.items():
        figures = value.values() if isinstance(value, dict) else (value,)
        if not all(figure is None or isinstance(figure, int | float) for figure in figures):
            raise RunError(f"{path}, line {number}: damaged ({key} is {json.dumps(value)}, wanted a number)")
    return row


def _object(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(_bytes(path))
    except ValueError as error:
        raise RunError(f"{path}: damaged ({error})") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: damaged (wanted an object)")
    return content


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
