"""The four IDX files of MNIST and its relatives: their names, and what they must hold together."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from jbackprop.training.data import DataError
from jbackprop.training.idx import array, unpacked

SIDE = 28
PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
NAMES = tuple(f"{part}-ubyte.gz" for part in PARTS)  # the usual ones


class Examples(NamedTuple):
    """Images and labels of one split, in the order of the files."""

    images: UInt8[np.ndarray, "n 28 28 1"]
    labels: UInt8[np.ndarray, " n"]


class File(NamedTuple):
    """A file as it lies on the disk."""

    path: Path
    content: bytes


def find(folder: Path) -> dict[str, Path]:
    """Returns the file of each of `PARTS` in `folder`, or nothing where none is there.

    Names are `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, each with or without `.gz`. Raises `DataError`
    where some of the four are there and others are missing.
    """
    found = {part: path for part in PARTS for path in _spellings(folder, part) if path.is_file()}
    missing = [f"{part}-ubyte" for part in PARTS if part not in found]
    if found and missing:
        there = ", ".join(path.name for path in found.values())
        raise DataError(f"{folder}: {there} without {', '.join(missing)} (each plain or with .gz)")
    return found


def _spellings(folder: Path, part: str) -> list[Path]:
    dotted = ".".join(part.rsplit("-", 1))
    return [folder / f"{stem}-ubyte{end}" for stem in (dotted, part) for end in ("", ".gz")]


def load(paths: Mapping[str, Path]) -> dict[str, File]:
    """Returns the four files. Raises `DataError` where one cannot be read."""
    try:
        return {part: File(path, path.read_bytes()) for part, path in paths.items()}
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}") from error


def fingerprint(files: Mapping[str, File]) -> str:
    """Returns 16 hexadecimal digits that change with any bit of the files' contents."""
    parts = "".join(sha256(files[part].content).hexdigest() for part in PARTS)
    return sha256(parts.encode()).hexdigest()[:16]


def splits(plain: Mapping[str, File], classes: int) -> dict[str, Examples]:
    """Returns the splits `train` and `test` of unpacked files. Raises `DataError` naming the file and the reason."""
    train_images, train_labels, test_images, test_labels = (plain[part] for part in PARTS)
    return {
        "train": _examples(train_images, train_labels, classes),
        "test": _examples(test_images, test_labels, classes),
    }


def unpack(files: Mapping[str, File]) -> dict[str, File]:
    """Returns the files with their contents unpacked. Raises `DataError`."""
    return {part: File(path, unpacked(content, path)) for part, (path, content) in files.items()}


def _examples(image_file: File, label_file: File, classes: int) -> Examples:
    images = array(image_file.content, image_file.path, axes=3)
    labels = array(label_file.content, label_file.path, axes=1)
    if images.shape[1:] != (SIDE, SIDE):
        raise DataError(f"{image_file.path}: images of {images.shape[1]} x {images.shape[2]}, wanted {SIDE} x {SIDE}")
    if not len(images):
        raise DataError(f"{image_file.path}: no images")
    if len(images) != len(labels):
        raise DataError(
            f"{label_file.path}: {len(labels):,} labels for the {len(images):,} images of {image_file.path}"
        )
    if labels.max() >= classes:
        first = int(np.argmax(labels >= classes))
        raise DataError(f"{label_file.path}: label {labels[first]} at row {first}, wanted 0 to {classes - 1}")
    return Examples(images[..., None], labels)
