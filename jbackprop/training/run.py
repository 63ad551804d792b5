"""The folder of one run: resolved configuration, metrics, parameters, plots."""

import itertools
import json
import shlex
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jbackprop.json_numbers import with_null
from jbackprop.training.config import Config, to_toml
from jbackprop.training.loop import Metrics
from jbackprop.training.run_error import RunError
from jbackprop.whole_file import write

METRICS = "metrics.jsonl"


def new_folder(parent: Path, name: str) -> Path:
    """Returns the new folder `parent/name-YYYYMMDD-HHMMSS`; `-2`, `-3`, ... is added where there is one already.

    Raises `RunError` where it cannot be made.
    """
    stamped = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for count in itertools.count(1):
        folder = parent / (stamped if count == 1 else f"{stamped}-{count}")
        try:
            folder.mkdir(parents=True)
            return folder
        except OSError as error:
            if not folder.is_dir():
                message = f"cannot make the run folder {folder}: {error.strerror}. Another place: --runs FOLDER"
                raise RunError(message) from error
    raise AssertionError("unreachable")


def save_config(folder: Path, config: Config) -> None:
    """Writes `config.toml`, which trains the same again."""
    write(folder / "config.toml", lambda path: path.write_text(to_toml(config), encoding="utf-8"))


def append_metrics(folder: Path, rows: Iterable[Metrics]) -> None:
    """Adds one line for each row to `metrics.jsonl`. JSON has no NaN and no infinity: these are null.

    An epoch without a check of the gradient has no `gradient_disagreement`, a run of one seed no `seed`.
    """
    with open(folder / METRICS, "a") as file:
        file.write("".join(map(_line, rows)))


def save_metrics(folder: Path, rows: Iterable[Metrics]) -> None:
    """Writes `metrics.jsonl` anew: rows of epochs that will be trained again and a torn last line are gone."""
    text = "".join(map(_line, rows))
    write(folder / METRICS, lambda path: path.write_text(text))


def _line(metrics: Metrics) -> str:
    row = metrics._asdict()
    disagreement, seed = row.pop("gradient_disagreement"), row.pop("seed")
    row = ({} if seed is None else {"seed": seed}) | row
    row |= {"gradient_disagreement": disagreement} if disagreement else {}
    return json.dumps(with_null(row), allow_nan=False) + "\n"


def save_params(folder: Path, params: Any) -> None:
    """Writes `params.npz`, one array a leaf under its path: `w1`, `0/w`, `conv/0/b`, ..."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    arrays: Any = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
    write(folder / "params.npz", lambda path: np.savez(path, **arrays))


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Raises `RunError` where the system refuses to write into a run's folder, for want of room for example."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise RunError(
            f"{where}: {error.strerror or error}. The run has ended; it goes on with "
            f"jbackprop train --resume {shlex.quote(str(folder))}"
        ) from error
