"""Tiny IDX files for the tests of this folder, and a machine on which nothing else is to be found."""

import gzip
import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from jbackprop.training import published
from jbackprop.training.idx_files import PARTS
from jbackprop.training.records import arrays

RANDOM = np.random.default_rng(0)
IMAGES = {
    "train": RANDOM.integers(0, 256, (23, 28, 28, 1), np.uint8),
    "test": RANDOM.integers(0, 256, (7, 28, 28, 1), np.uint8),
}
LABELS = {"train": RANDOM.integers(0, 10, 23, np.uint8), "test": np.array([9, 0, 1, 2, 3, 4, 5], np.uint8)}


def images_file(images: np.ndarray) -> bytes:
    return struct.pack(">IIII", 0x803, *images.shape[:3]) + images.tobytes()


def labels_file(labels: np.ndarray) -> bytes:
    return struct.pack(">II", 0x801, len(labels)) + labels.tobytes()


CONTENTS: dict[str, bytes] = dict(
    zip(
        PARTS,
        (
            images_file(IMAGES["train"]),
            labels_file(LABELS["train"]),
            images_file(IMAGES["test"]),
            labels_file(LABELS["test"]),
        ),
        strict=True,
    )
)
PACKED = {part: gzip.compress(content, mtime=0) for part, content in CONTENTS.items()}
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = PARTS


def isolate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Returns the default folder, which is not there; neither is the stock one, nor a network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "stock"))
    monkeypatch.setattr(requests, "head", offline)
    return tmp_path / "cache" / "jbackprop" / "data"


def offline(*arguments: Any, **settings: Any):
    raise requests.ConnectionError


def put(folder: Path, contents: dict[str, bytes] = PACKED, name: str = "{}-ubyte.gz") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, content in contents.items():
        (folder / name.format(part)).write_bytes(content)
    return folder


def replaced(part: str, content: bytes) -> dict[str, bytes]:
    return PACKED | {part: content}


def entries(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def assert_is_the_data(builder: Any) -> None:
    for split in ("train", "test"):
        images, labels = arrays(builder, split)
        np.testing.assert_array_equal(images, IMAGES[split], strict=True)
        np.testing.assert_array_equal(labels, LABELS[split].astype(np.int32), strict=True)


def publish(monkeypatch: pytest.MonkeyPatch, name: str, url: str, contents: dict[str, bytes] = PACKED) -> None:
    known = {
        part: published.Known(len(packed), hashlib.sha256(packed).hexdigest(), hashlib.md5(CONTENTS[part]).hexdigest())
        for part, packed in contents.items()
    }
    monkeypatch.setitem(published.PUBLISHED, name, published.Publication(url, known))
