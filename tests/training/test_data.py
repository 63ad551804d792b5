"""The digits builder: what it writes, and what happens where it cannot."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits as scikit_learn_digits

from jbackprop.training import data
from jbackprop.training.config import Data
from jbackprop.training.digits import DESCRIPTION, Digits


def records(folder: Path, split: str) -> list[dict]:
    builder: Any = Digits(data_dir=str(folder), file_format="array_record")
    source = builder.as_data_source(split=split)
    return list(source.__getitems__(range(len(source))))


def test_shapes_and_sizes(digits):
    assert digits.train.images.shape == (1347, 8, 8, 1)
    assert digits.test.images.shape == (450, 8, 8, 1)
    assert digits.train.images.dtype == np.uint8
    assert digits.test.labels.dtype == np.int32
    assert int(digits.train.images.max()) == digits.white


def test_every_image_of_the_file_is_in_one_split_alone(data_folder):
    rows = [record["index"] for split in ("train", "test") for record in records(data_folder, split)]
    assert sorted(rows) == list(range(1797))


def test_images_and_labels_are_those_of_the_file(data_folder):
    source: Any = scikit_learn_digits()
    for record in records(data_folder, "test"):
        np.testing.assert_array_equal(record["image"][..., 0], source.images[record["index"]])
        assert record["label"] == source.target[record["index"]]


def test_each_class_gives_a_quarter_to_the_test_split(digits):
    train, test = (np.bincount(split.labels, minlength=10) for split in (digits.train, digits.test))
    np.testing.assert_allclose(test / (train + test), 0.25, atol=0.005)


def test_the_split_is_random_over_the_writers(data_folder):
    # the file is ordered by writer: a split that takes its last rows would have a mean index near 1570
    rows = [record["index"] for record in records(data_folder, "test")]
    assert abs(np.mean(rows) - 898) < 60


def test_the_description_states_the_split():
    assert "stratified" in DESCRIPTION
    assert "25%" in DESCRIPTION


def test_prepared_again_elsewhere_is_the_same(digits, tmp_path):
    again = data.load_digits(tmp_path / "made" / "on the way")
    np.testing.assert_array_equal(again.train.images, digits.train.images)
    np.testing.assert_array_equal(again.test.labels, digits.test.labels)


def test_a_prepared_folder_is_read_not_written_again(data_folder, digits):
    files = {path: path.stat().st_mtime_ns for path in data_folder.rglob("*") if path.is_file()}
    again = data.load_digits(data_folder)
    np.testing.assert_array_equal(again.train.images, digits.train.images)
    assert files == {path: path.stat().st_mtime_ns for path in data_folder.rglob("*") if path.is_file()}


def test_preparation_prints_nothing(tmp_path, capfd):
    data.load_digits(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_the_default_folder_honours_xdg_cache_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.default_folder() == tmp_path / "jbackprop" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data.default_folder() == Path("~/.cache/jbackprop/data").expanduser()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(data.DataError, match=r"cannot prepare the data in .*file.*--data\.dir"):
        data.load(Data(dir=str(tmp_path / "file")))


@pytest.mark.parametrize("damage", ["truncated", "missing", "no info", "half an info", "an empty info"])
def test_a_damaged_folder_is_named(data_folder, tmp_path, damage):
    shutil.copytree(data_folder, tmp_path, dirs_exist_ok=True)
    prepared = tmp_path / "digits" / "1.0.0"
    (records_file,) = prepared.glob("digits-train*")
    match damage:
        case "truncated":
            os.truncate(records_file, 1000)
        case "missing":
            records_file.unlink()
        case "no info":
            (prepared / data.INFO).unlink()
        case "half an info":
            (prepared / data.INFO).write_text("{")
        case "an empty info":
            (prepared / data.INFO).write_text("")
    with pytest.raises(data.DataError, match=r"digits.1\.0\.0.*[Rr]emove"):
        data.load_digits(tmp_path)


def test_a_killed_preparation_leaves_nothing_that_is_read(tmp_path, digits):
    program = """
import os, signal, sys
from jbackprop.training import data, digits
whole = digits.Digits._generate_examples
def half(self, source, rows):
    for i, example in enumerate(whole(self, source, rows)):
        if i == 100:
            os.kill(os.getpid(), signal.SIGKILL)
        yield example
digits.Digits._generate_examples = half
from pathlib import Path
data.load_digits(Path(sys.argv[1]))
"""
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    again = data.load_digits(tmp_path)
    np.testing.assert_array_equal(again.train.images, digits.train.images)


def test_neither_tensorflow_nor_a_network_is_used(tmp_path):
    program = """
import socket, sys
def refuse(*arguments):
    raise AssertionError("the network was touched")
socket.socket.connect = socket.getaddrinfo = refuse
from pathlib import Path
from jbackprop.training import data
for _ in range(2):
    print(len(data.load_digits(Path(sys.argv[1])).test.labels), "tensorflow" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout == "450 False\n450 False\n"
    assert run.stderr == ""
