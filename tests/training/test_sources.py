"""The other sources of a data set, interrupted and simultaneous preparations, and a network that is not there."""

import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from idx_samples import (
    IMAGES,
    LABELS,
    PACKED,
    TEST_LABELS,
    assert_is_the_data,
    entries,
    isolate,
    publish,
    put,
    replaced,
)
from PIL import Image

from jbackprop.training import download, mnist, sources
from jbackprop.training.data import INFO, DataError
from jbackprop.training.records import arrays
from jbackprop.training.sources import prepared

IGNORED = "ignore::jbackprop.training.sources.DataWarning"  # tiny files are not the published ones
pytestmark = pytest.mark.filterwarnings(IGNORED)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    return isolate(monkeypatch, tmp_path)


def half_prepared(folder: Path) -> Path:
    (version,) = folder.rglob("1.0.0")
    (version / INFO).unlink()
    return version


def test_a_half_prepared_folder_is_prepared_again(tmp_path, cache):
    folder = str(put(tmp_path / "idx"))
    prepared("mnist", folder)
    version = half_prepared(cache)
    abandoned = version.with_name("incomplete.ABC_1.0.0")
    abandoned.mkdir()
    os.utime(abandoned, (0, 0))
    assert_is_the_data(prepared("mnist", folder))
    assert entries(version.parent) == ["1.0.0", *(f"1.0.0/{file}" for file in entries(version))]


def test_of_two_preparing_at_once_one_is_used(tmp_path, cache, monkeypatch):
    folder = str(put(tmp_path / "idx"))
    generate = mnist.Mnist._generate_examples

    def meanwhile(self, examples):
        monkeypatch.setattr(mnist.Mnist, "_generate_examples", generate)
        prepared("mnist", folder)
        yield from generate(self, examples)

    monkeypatch.setattr(mnist.Mnist, "_generate_examples", meanwhile)
    assert_is_the_data(prepared("mnist", folder))
    assert [path.name for path in (cache / "idx").glob("*/mnist/*")] == ["1.0.0"]


def png(image: np.ndarray) -> io.BytesIO:
    stream = io.BytesIO()
    Image.fromarray(image[..., 0]).save(stream, "png", optimize=True)
    stream.seek(0)
    return stream


def stock(folder: Path, file_format: str) -> Path:
    """The stock builder's folder: its features are images, which it hands over as PNG."""
    from tensorflow_datasets.image_classification.mnist import MNIST

    class Stock(MNIST, skip_registration=True):
        name = "mnist"

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split, None, None) for split in IMAGES}

        def _generate_examples(self, num_examples, data_path, label_path):
            for row, (image, label) in enumerate(zip(IMAGES[num_examples], LABELS[num_examples].tolist(), strict=True)):
                yield row, {"image": png(image), "label": label}

    with sources._silence():
        builder: Any = Stock(data_dir=str(folder), file_format=file_format)
        builder.download_and_prepare(download_dir=str(folder / "downloads"))
    return folder


@pytest.mark.parametrize("given", [True, False])
def test_the_stock_folder_is_read(tmp_path, cache, given):
    folder = stock(tmp_path / "stock", "array_record")  # TFDS_DATA_DIR
    builder = prepared("mnist", str(folder) if given else None)
    assert builder.info.full_name == "mnist/3.0.1"
    for split in ("train", "test"):
        images, labels = arrays(builder, split)
        shuffled = {(label, image.tobytes()) for image, label in zip(images, labels.tolist(), strict=True)}
        assert shuffled == {
            (label, image.tobytes()) for image, label in zip(IMAGES[split], LABELS[split].tolist(), strict=True)
        }
    assert not cache.exists()


def test_idx_files_come_before_a_prepared_folder(tmp_path):
    folder = stock(tmp_path / "both", "array_record")
    assert prepared("mnist", str(put(folder))).info.full_name == "mnist/1.0.0"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("no info", r"mnist.3\.0\.1 is half prepared \(it has no dataset_info\.json\)"),
        ("another format", r"mnist.3\.0\.1 is in tfrecord format, wanted array_record"),
        ("not json", r"mnist.3\.0\.1 is damaged .*Remove it"),
        ("no features", r"mnist.3\.0\.1 is damaged .*Remove it"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(tmp_path, damage, reason):
    version = stock(tmp_path / "stock", "array_record") / "mnist" / "3.0.1"
    match damage:
        case "no info":
            (version / INFO).unlink()
        case "another format":
            (version / INFO).write_text((version / INFO).read_text().replace("array_record", "tfrecord"))
        case "not json":
            (version / INFO).write_text("{")
        case "no features":
            (version / "features.json").write_text("")
    with pytest.raises(DataError, match=reason):
        prepared("mnist", str(tmp_path / "stock"))


@pytest.mark.parametrize("damage", ["truncated", "missing", "not records"])
def test_damaged_records_are_named(tmp_path, cache, damage):
    builder = prepared("mnist", str(put(tmp_path / "idx")))
    (records,) = cache.rglob("mnist-train*")
    match damage:
        case "truncated":
            os.truncate(records, records.stat().st_size // 2)
        case "missing":
            records.unlink()
        case "not records":
            records.write_bytes(b"x" * records.stat().st_size)
    with pytest.raises(DataError, match=r"mnist: the train split in .*mnist.1\.0\.0 cannot be read.*Remove"):
        arrays(builder, "train")


def test_without_network_the_message_says_which_files_to_put_where(tmp_path, cache):
    folder = tmp_path / "nothing"
    with pytest.raises(DataError) as raised:
        prepared("kmnist", str(folder))
    assert str(raised.value) == (
        f"kmnist: not in {folder}, and http://codh.rois.ac.jp/kmnist/dataset/kmnist/ cannot be reached "
        f"(ConnectionError). Put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
        f"t10k-labels-idx1-ubyte.gz into {folder / 'kmnist'} and run again, or say where they are: --data.dir"
    )
    assert not folder.exists()
    assert not cache.exists()


def test_a_network_that_does_not_answer_is_given_up(monkeypatch):
    end = threading.Event()

    def hang(*arguments: Any, **settings: Any) -> None:
        end.wait(60)
        raise requests.ConnectionError

    monkeypatch.setattr(requests, "head", hang)
    monkeypatch.setattr(download, "REACHABLE_WITHIN", 0.01)
    assert download.unreachable("http://example.org") == "no answer"
    end.set()


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[str]:
    """Address of a server on this machine that has the files."""
    folder = put(tmp_path / "served")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    monkeypatch.undo()  # requests.head
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()
        thread.join()


def test_a_download_is_kept_as_records_alone(tmp_path, monkeypatch, server):
    publish(monkeypatch, "mnist", server)
    folder = tmp_path / "data"
    assert_is_the_data(prepared("mnist", str(folder)))
    assert [path.name for path in folder.rglob("*") if path.is_dir()] == ["mnist", "1.0.0"]
    shutil.rmtree(tmp_path / "served")
    assert_is_the_data(prepared("mnist", str(folder)))


def test_a_half_prepared_folder_is_downloaded_again(tmp_path, monkeypatch, server):
    publish(monkeypatch, "mnist", server)
    prepared("mnist", str(tmp_path / "data"))
    half_prepared(tmp_path / "data")
    assert_is_the_data(prepared("mnist", str(tmp_path / "data")))


def test_a_download_with_a_wrong_checksum_is_an_error(tmp_path, monkeypatch, server):
    publish(monkeypatch, "mnist", server, replaced(TEST_LABELS, PACKED[TEST_LABELS] + b"more"))
    with pytest.raises(DataError, match=r"mnist: cannot download .*t10k-labels-idx1-ubyte\.gz.* has wrong checksum"):
        prepared("mnist", str(tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_a_server_without_the_file_is_said_so(tmp_path, monkeypatch, server):
    publish(monkeypatch, "mnist", server + "elsewhere/")
    with pytest.raises(DataError, match=r"mnist: not in .*cannot be reached \(HTTP 404\)\. Put train-images"):
        prepared("mnist", str(tmp_path / "data"))


def test_neither_tensorflow_nor_a_network_is_used(tmp_path):
    program = """
import socket, sys, warnings
def refuse(*arguments):
    raise AssertionError("the network was touched")
socket.socket.connect = socket.getaddrinfo = refuse
from jbackprop.training.records import arrays
from jbackprop.training.sources import prepared
warnings.simplefilter("ignore")
print(len(arrays(prepared("mnist", sys.argv[1]), "test")[1]), "tensorflow" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program, str(put(tmp_path / "idx"))], capture_output=True, text=True)
    assert (run.stdout, run.stderr, run.returncode) == ("7 False\n", "", 0)
