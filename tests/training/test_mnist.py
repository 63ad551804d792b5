"""MNIST and its relatives from IDX files: what is written, what is warned of, and what is refused."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from idx_samples import (
    CONTENTS,
    IMAGES,
    LABELS,
    PACKED,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    assert_is_the_data,
    entries,
    images_file,
    isolate,
    labels_file,
    publish,
    put,
    replaced,
)

from jbackprop.training import mnist
from jbackprop.training.data import DataError
from jbackprop.training.idx_files import PARTS
from jbackprop.training.records import arrays
from jbackprop.training.sources import DataWarning, prepared

IGNORED = "ignore::jbackprop.training.sources.DataWarning"  # tiny files are not the published ones
pytestmark = pytest.mark.filterwarnings(IGNORED)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    return isolate(monkeypatch, tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_each_data_set_is_read_in_the_order_of_its_files(tmp_path, name):
    builder = prepared(name, str(put(tmp_path / "idx")))
    assert_is_the_data(builder)
    assert builder.info.full_name == f"{name}/1.0.0"
    assert tuple(builder.info.features["label"].names) == mnist.BUILDERS[name].LABELS


def test_tfds_itself_reads_the_same(tmp_path):
    builder = prepared("mnist", str(put(tmp_path / "idx")))
    records = list(builder.as_data_source(split="train"))
    np.testing.assert_array_equal([record["image"] for record in records], IMAGES["train"])
    np.testing.assert_array_equal([record["label"] for record in records], LABELS["train"])


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
def test_usual_names(tmp_path, separator, end):
    contents = {
        part.replace("-idx", f"{separator}idx"): content for part, content in (PACKED if end else CONTENTS).items()
    }
    assert_is_the_data(prepared("mnist", str(put(tmp_path / "idx", contents, "{}-ubyte" + end))))


def test_files_lie_in_the_folder_or_in_its_folder_of_that_name(tmp_path, cache):
    put(tmp_path / "idx" / "kmnist")
    assert_is_the_data(prepared("kmnist", str(tmp_path / "idx")))
    put(cache / "mnist")
    assert_is_the_data(prepared("mnist"))


def test_the_users_folder_may_be_read_only(tmp_path):
    folder = put(tmp_path / "idx")
    folder.chmod(0o500)
    before = entries(folder)
    assert_is_the_data(prepared("mnist", str(folder)))
    assert entries(folder) == before


def test_prepared_once_for_each_content(tmp_path, cache):
    prepared("mnist", str(put(tmp_path / "one")))
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    assert_is_the_data(prepared("mnist", str(put(tmp_path / "other"))))
    assert before == {path: path.stat().st_mtime_ns for path in cache.rglob("*")}

    changed = labels_file(LABELS["train"][::-1])
    builder = prepared("mnist", str(put(tmp_path / "one", PACKED | {TRAIN_LABELS: gzip.compress(changed)})))
    np.testing.assert_array_equal(arrays(builder, "train")[1], LABELS["train"][::-1])


BAD = {
    "truncated gzip": (replaced(TEST_IMAGES, PACKED[TEST_IMAGES][:-5]), r"t10k-images.*gzip file is truncated"),
    "corrupt gzip": (
        replaced(TRAIN_LABELS, PACKED[TRAIN_LABELS][:20] + b"\xff" * 20),
        r"train-labels.*gzip file is (damaged|truncated)",
    ),
    "wrong magic number": (
        replaced(TRAIN_LABELS, PACKED[TRAIN_IMAGES]),
        r"train-labels.*magic number is 2051, wanted 2049",
    ),
    "counts differ": (
        replaced(TEST_LABELS, labels_file(LABELS["test"][:6])),
        r"t10k-labels.*: 6 labels for the 7 images",
    ),
    "label out of range": (
        replaced(TEST_LABELS, labels_file(LABELS["test"] + np.uint8(1))),
        r"t10k-labels.*: label 10 at row 0, wanted 0 to 9",
    ),
    "no images": (replaced(TEST_IMAGES, images_file(np.zeros((0, 28, 28), np.uint8))), r"t10k-images.*: no images"),
    "another size": (
        replaced(TRAIN_IMAGES, images_file(np.zeros((23, 32, 32), np.uint8))),
        r"train-images.*: images of 32 x 32, wanted 28 x 28",
    ),
    "a missing file": (
        {part: content for part, content in PACKED.items() if part != TEST_LABELS},
        r"t10k-images-idx3-ubyte\.gz without t10k-labels-idx1-ubyte",
    ),
}


@pytest.mark.parametrize(("contents", "reason"), BAD.values(), ids=BAD)
def test_bad_files_are_refused_and_nothing_is_left_behind(tmp_path, cache, contents, reason):
    folder = put(tmp_path / "idx", contents)
    before = entries(folder)
    with pytest.raises(DataError, match=reason):
        prepared("mnist", str(folder))
    assert entries(folder) == before
    assert not cache.exists()


def test_each_unpublished_file_is_warned_of_every_time(tmp_path):
    folder = put(tmp_path / "idx")
    for _ in range(2):
        with pytest.warns(DataWarning) as warned:
            prepared("mnist", str(folder))
        assert sorted(str(warning.message) for warning in warned) == [
            f"mnist: {folder / part}-ubyte.gz is not the published file" for part in sorted(PARTS)
        ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("contents", [PACKED, CONTENTS, {p: gzip.compress(c, 1, mtime=1) for p, c in CONTENTS.items()}])
def test_published_files_are_known_however_they_are_packed(tmp_path, monkeypatch, contents):
    publish(monkeypatch, "mnist", "")
    assert_is_the_data(prepared("mnist", str(put(tmp_path / "idx", contents))))


def test_the_files_of_another_data_set_are_called_so(tmp_path, monkeypatch):
    publish(monkeypatch, "fashion_mnist", "")
    with pytest.warns(DataWarning, match=r"^mnist: .*train-images-idx3-ubyte\.gz is that of fashion_mnist$"):
        prepared("mnist", str(put(tmp_path / "idx")))


def test_plain_files_without_a_known_checksum_are_not_judged(tmp_path, recwarn):
    prepared("kmnist", str(put(tmp_path / "idx", CONTENTS, "{}-ubyte")))
    assert not recwarn.list


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"mnist: cannot write the records to .*file.*XDG_CACHE_HOME"):
        prepared("mnist", str(put(tmp_path / "idx")))


def test_the_real_files():
    if not (folder := os.environ.get("JBACKPROP_DATA_DIR")):
        pytest.skip("MNIST is not kept in this repository: set JBACKPROP_DATA_DIR to the folder of its IDX files")
    builder = prepared("mnist", folder)
    images, labels = arrays(builder, "train")
    assert (images.shape, arrays(builder, "test")[0].shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    np.testing.assert_allclose((images.mean() / 255, images.std() / 255), (0.1307, 0.3081), atol=2e-4)
    np.testing.assert_array_equal(labels[:10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
