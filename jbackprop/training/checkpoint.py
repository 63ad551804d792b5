"""Checkpoints of a run: everything it needs to go on bit for bit, written whole or not at all, and checked when read.

`checkpoints/12/` stands for 12 complete epochs, `checkpoints/12+7/` for 7 steps more. Each holds the arrays, by orbax,
`progress.json`, and the SHA-256 of every file in `checksums.json`. `best.json` beside them names the best one.
`.damaged-12/` was not as written when the run went on.
"""

import json
import logging
import os
import re
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from jbackprop.training import checkpoint_files as files
from jbackprop.training import distributed
from jbackprop.training.check import Checks
from jbackprop.training.checkpoint_files import FOLDER, Damaged
from jbackprop.training.loop import Metrics, Position
from jbackprop.training.run_error import RunError

PROGRESS, ARRAYS, PARAMS = "progress.json", "arrays", "state/params/"
OS_ERROR = re.compile(r"os_error_code='(\d+)'")
SHARE = 0.05  # of the time may go into writing


class Checkpoint(NamedTuple):
    """What a run has done: where it stands, its rows of metrics, its checks, and how it was made."""

    position: Position
    metrics: tuple[Metrics, ...] = ()
    of_seeds: tuple[Metrics, ...] = ()
    checks: Checks | None = None
    made: Mapping[str, Any] = MappingProxyType({})


class Writer:
    """Writes the checkpoints of one run, every `every` epochs or, so that they take less than `share` of the time,
    more rarely. The last `keep` and the best one are kept.
    """

    def __init__(self, folder: Path, every: int, keep: int, share: float = SHARE) -> None:
        self.folder, self.every, self.keep, self.share = folder / FOLDER, every, keep, share
        self._took, self._done = 0.0, time.perf_counter()

    def due(self, epoch: int, last: bool) -> bool:
        """Whether one is to be written after this epoch: if any are, then after the last one too."""
        if not self.every or last:
            return bool(self.every)
        if epoch % self.every:
            return False
        return bool(distributed.of_first(self._took <= self.share * (time.perf_counter() - self._done)))

    def write(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint, and removes those that are too old."""
        import orbax.checkpoint.experimental.v1  # noqa: F401  # its 0.5 s are not those of writing

        began = time.perf_counter()
        path = write(self.folder, checkpoint)
        if jax.process_index() == 0:
            if checkpoint.metrics and not len(checkpoint.position.losses):  # else it was not evaluated
                files.mark_best(self.folder, path.name, checkpoint.metrics[-1].test_accuracy)
            files.remove_old(self.folder, self.keep)
        self._done = time.perf_counter()
        self._took = self._done - began


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint, with orbax, under a name that it gets when it is complete. All processes have to call."""
    from orbax.checkpoint import v1 as ocp  # 0.5 s

    position = checkpoint.position
    steps = f"+{len(position.losses)}" if len(position.losses) else ""
    target = folder / f"{position.epoch}{steps}"
    partial = (folder / f".partial-{target.name}").resolve()
    first = jax.process_index() == 0
    if first:
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        partial.mkdir(parents=True)
    arrays = _arrays(checkpoint)
    try:
        with _without_logs():
            ocp.save(str(partial / ARRAYS), {key: leaf for key, leaf in arrays.items() if leaf.size})
    except ValueError as error:
        if code := OS_ERROR.search(str(error)):  # of tensorstore, which has no OSError
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(target)) from error
        raise
    if first:
        (partial / PROGRESS).write_text(_progress(checkpoint, arrays), encoding="utf-8")
        files.seal(partial, target)
    return target


@contextmanager
def _without_logs() -> Iterator[None]:
    """Orbax logs the traceback of each of its threads that fails, and raises the same error."""
    logger = logging.getLogger("absl")
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def newest(run_folder: Path, like: Position) -> tuple[str, Checkpoint] | None:
    """Returns the last checkpoint of a run that is whole, with its name; None where there is none.

    `like` is any position of such a run, for shapes and devices. Warns of each damaged one and says which takes its
    place. Raises `RunError` where the checkpoint is of another network or optimiser, or whole and yet not to be loaded.
    """
    folder, damaged = run_folder / FOLDER, []
    for name in files.names(folder):
        try:
            found = read(folder / name, like)
        except Damaged as error:
            damaged.append(str(error))
            continue
        _warn(damaged, f"using {folder / name}, the one before it")
        return name, found
    _warn(damaged, "no other one is left: starting from the beginning")
    return None


def _warn(damaged: list[str], instead: str) -> None:
    for words in damaged:
        warnings.warn(f"{words}; {instead}", stacklevel=3)


def read(path: Path, like: Position) -> Checkpoint:
    """Returns a checkpoint. Raises `Damaged` where a file is missing or is not what was written.

    Raises `RunError` where its arrays have other names, shapes or dtypes than `like`, or cannot be loaded.
    """
    files.verify(path)
    written = _read_progress(path / PROGRESS)
    wanted: dict[str, Any] = {key: _abstract(leaf) for key, leaf in _of_position(like).items()}
    for key, (shape, dtype) in written["arrays"].items():
        if key not in wanted and not key.startswith("state/"):
            wanted[key] = np.zeros(shape, dtype)
    _compare(path, written["arrays"], wanted)
    arrays = _loaded(path, {key: leaf for key, leaf in wanted.items() if 0 not in leaf.shape})
    return _put_together(
        {key: np.zeros(leaf.shape, leaf.dtype) for key, leaf in wanted.items()} | arrays, written, like
    )


def best_params(run_folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns which checkpoint is the best (`checkpoint_files.best`), and its parameters by their paths.

    Raises `RunError` where there is none, or it is damaged.
    """
    best = files.best(run_folder / FOLDER)
    if best is None:
        raise RunError(f"{run_folder} has no best checkpoint, which is marked after an epoch that writes one")
    path = run_folder / FOLDER / best["checkpoint"]
    try:
        files.verify(path)
    except Damaged as error:
        raise RunError(f"{error}; without --best the parameters at the end are used") from error
    written = _read_progress(path / PROGRESS)["arrays"]
    wanted = {key: np.zeros(shape, dtype) for key, (shape, dtype) in written.items() if 0 not in shape}
    found = _loaded(path, wanted)
    return best, {key.removeprefix(PARAMS): leaf for key, leaf in found.items() if key.startswith(PARAMS)}


def _loaded(path: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    from orbax.checkpoint import v1 as ocp

    try:
        return ocp.load(str(path.resolve() / ARRAYS), wanted)
    except Exception as error:  # orbax and tensorstore raise many kinds
        # the files are as they were written: it is for want of memory, of permission, of another orbax, ...
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise RunError(f"{path} is whole but cannot be loaded ({reason}); nothing has been changed") from error


def _read_progress(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}: {error})") from error


def _compare(path: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in sorted(there.keys() | wanted.keys()):
        here = [list(wanted[key].shape), str(wanted[key].dtype)] if key in wanted else None
        if there.get(key) != here:
            raise RunError(f"{path}: {key} is {there.get(key)}, in this network and optimiser it is {here}")


def _of_position(position: Position) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(position.state)
    state = {f"state/{jax.tree_util.keystr(path, simple=True, separator='/')}": leaf for path, leaf in leaves}
    return state | {"key": jax.random.key_data(position.key)}


def _arrays(checkpoint: Checkpoint) -> dict[str, Any]:
    position, checks = checkpoint.position, checkpoint.checks
    arrays = _of_position(position) | {"losses": position.losses, "rows": position.rows}
    return arrays | ({f"checks/{key}": leaf for key, leaf in checks._asdict().items()} if checks else {})


def _put_together(arrays: dict[str, Any], written: dict[str, Any], like: Position) -> Checkpoint:
    leaves = [arrays[key] for key in _of_position(like) if key != "key"]
    state = jax.tree.unflatten(jax.tree.structure(like.state), leaves)
    key = jax.random.wrap_key_data(arrays["key"], impl=jax.random.key_impl(like.key))
    position = Position(state, key, written["epoch"], arrays["losses"], arrays["rows"], written["seconds"])
    metrics, of_seeds = (tuple(Metrics(**row) for row in written[part]) for part in ("metrics", "of_seeds"))
    checks = Checks(*(arrays[f"checks/{key}"] for key in Checks._fields)) if "checks/steps" in arrays else None
    return Checkpoint(position, metrics, of_seeds, checks, written["made"])


def _progress(checkpoint: Checkpoint, arrays: dict[str, Any]) -> str:
    position = checkpoint.position
    content = {
        "epoch": position.epoch,
        "steps_of_the_next_epoch": len(position.losses),
        "seconds": position.seconds,
        "arrays": {key: [list(leaf.shape), str(leaf.dtype)] for key, leaf in arrays.items()},
        "metrics": [row._asdict() for row in checkpoint.metrics],
        "of_seeds": [row._asdict() for row in checkpoint.of_seeds],
        "made": dict(checkpoint.made),
    }
    return json.dumps(content) + "\n"


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
