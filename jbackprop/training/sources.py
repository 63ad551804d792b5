"""Where a data set comes from: IDX files, else a prepared tensorflow-datasets folder, else the network."""

import contextlib
import io
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from jbackprop.training.data import CLASSES, INFO, DataError, default_folder
from jbackprop.training.download import download
from jbackprop.training.idx_files import Examples, File, find, fingerprint, load, splits, unpack
from jbackprop.training.mnist import BUILDERS
from jbackprop.training.published import differing

FORMAT = "array_record"
ABANDONED_AFTER = 3600.0  # seconds; writing takes five


class DataWarning(UserWarning):
    """The data can be used, but is not what was published."""


def prepared(name: str, data_dir: str | None = None) -> Any:
    """Returns a builder whose files are there, of the first of these sources that has the data set `name`.

    1. The four IDX files in `data_dir`, or in its folder `name`. Their records are written to `default_folder()`, once
       for each content of the files, so that `data_dir` may be read-only. Files other than the published ones are used
       with a `DataWarning`.
    2. A tensorflow-datasets folder in array_record format in `data_dir`, ours or the stock one; where no `data_dir` is
       given, also in `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.
    3. The network. The records are written to `data_dir`.

    `data_dir` of None is `default_folder()`. Raises `DataError`.
    """
    folder = Path(data_dir).expanduser() if data_dir else default_folder()
    try:
        for place in (folder, folder / name):
            if paths := find(place):
                return _from_idx(name, paths)
        candidates = _candidates(name, [folder] if data_dir else [folder, _stock_folder()])
        if ready := [path for path, refusal in candidates.items() if not refusal]:
            return _opened(name, ready[0])
        return _downloaded(name, folder, [f"{path} {refusal}" for path, refusal in candidates.items()])
    except OSError as error:
        raise DataError(f"{name}: cannot prepare the data of {folder}: {error}. Another folder: --data.dir") from error


def digits(folder: Path) -> Any:
    """Returns the builder of `digits`, prepared below `folder` on the first call. Raises `DataError`."""
    from jbackprop.training.digits import Digits

    target = folder / Digits.name / str(Digits.VERSION)
    try:
        if target.exists() and not _is_prepared(target):
            raise DataError(f"digits: {target} is damaged (it has no {INFO}). Remove it and run again")
        if not target.exists():
            _clear(target)
            _write(Digits(data_dir=str(folder), file_format=FORMAT))
    except OSError as error:
        raise DataError(f"digits: cannot prepare the data in {folder}: {error}. Another folder: --data.dir") from error
    return _opened("digits", target)


def _stock_folder() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _from_idx(name: str, paths: Mapping[str, Path]) -> Any:
    files = load(paths)
    cache = default_folder() / "idx" / fingerprint(files)
    target = cache / name / str(BUILDERS[name].VERSION)
    _clear(target)
    if not _is_prepared(target):
        plain = unpack(files)
        examples = splits(plain, CLASSES)
        try:
            _write(_builder(name, cache, examples, differing(name, files, plain)))
        except OSError as error:
            message = f"{name}: cannot write the records to {cache}: {error}. Another folder: $XDG_CACHE_HOME"
            raise DataError(message) from error
    builder = _opened(name, target)
    for part, owner in builder.info.metadata["differing"].items():
        what = f"that of {owner}" if owner else "not the published file"
        warnings.warn(f"{name}: {paths[part]} is {what}", DataWarning, stacklevel=3)
    return builder


def _candidates(name: str, folders: Sequence[Path]) -> dict[Path, str]:
    """Returns the tensorflow-datasets folders of a data set, each with why it cannot be used, or ""."""
    versions = [version for folder in folders for version in sorted((folder / name).glob("[0-9]*.[0-9]*.[0-9]*"))]
    return {version: _refusal(version) for version in versions if version.is_dir()}


def _refusal(version: Path) -> str:
    if not _is_prepared(version):
        return f"is half prepared (it has no {INFO})"
    try:
        found = json.loads((version / INFO).read_bytes()).get("fileFormat", "tfrecord")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{version} is damaged ({INFO}: {error}). Remove it and run again") from error
    return "" if found == FORMAT else f"is in {found} format, wanted {FORMAT}"


def _is_prepared(version: Path) -> bool:
    return (version / INFO).is_file()


def _opened(name: str, version: Path) -> Any:
    try:
        return tfds.builder_from_directory(version)
    except Exception as error:  # by what is wrong with the files: protobuf's, json's and tfds' own
        kind = type(error).__name__
        raise DataError(f"{name}: {version} is damaged ({kind}: {error}). Remove it and run again") from error


def _downloaded(name: str, folder: Path, unusable: Sequence[str]) -> Any:
    with tempfile.TemporaryDirectory(prefix="jbackprop-") as scratch, _silence():
        files = {
            part: File(path, path.read_bytes()) for part, path in download(name, folder, unusable, scratch).items()
        }
    target = folder / name / str(BUILDERS[name].VERSION)
    _clear(target)
    _write(_builder(name, folder, splits(unpack(files), CLASSES), {}))
    return _opened(name, target)


def _builder(name: str, folder: Path, examples: Mapping[str, Examples], differing: Mapping[str, str]) -> Any:
    return BUILDERS[name](examples=examples, differing=differing, data_dir=str(folder), file_format=FORMAT)


def _write(builder: Any) -> None:
    """Writes the records of a builder.

    tfds writes to another folder first and renames it: of two processes at once, the second finds the first one's.
    """
    target = Path(builder.data_dir)
    with tempfile.TemporaryDirectory(prefix="jbackprop-") as scratch, _silence():
        try:
            builder.download_and_prepare(
                download_dir=scratch, download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
        except OSError:
            if not _is_prepared(target):
                raise


def _clear(target: Path) -> None:
    """Removes what interrupted runs have left: a half-prepared `target`, and folders that tfds was writing to.

    Another process may be doing the same, or finishing its own.
    """
    if target.exists() and not _is_prepared(target):
        aside = target.with_name(f"incomplete.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(target.rename(aside), ignore_errors=True)  # gone for others in one step
    for path in target.parent.glob("incomplete.*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - ABANDONED_AFTER:
                shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    silence = io.StringIO()  # tfds prints its progress with print() and tqdm
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        yield
