"""All examples of a prepared split as two arrays, without tfds' decoding of one record at a time."""

import io
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int, Int32, UInt8
from tensorflow_datasets.proto import tf_example_pb2

from jbackprop.training.data import DataError

example_proto: Any = tf_example_pb2  # type checkers do not see what protobuf generates
Decode = Callable[[Any], bytes]
AT_A_TIME = 8192  # records in memory of which the labels alone are wanted


class Records(NamedTuple):
    """The records of a prepared split, the shape of an image, how its bytes are read, and which records are used."""

    source: Any
    shape: tuple[int, ...]
    decode: Decode
    rows: Int[np.ndarray, " n"]

    def read(self, rows: Int[np.ndarray, " n"]) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]]:
        """Returns images and labels of these of the records that are used."""
        examples = [(self.decode(features["image"]), _label(features)) for features in self._features(rows)]
        images = np.frombuffer(b"".join(image for image, _ in examples), np.uint8).reshape(-1, *self.shape)
        return images, np.array([label for _, label in examples], np.int32)

    def labels(self, rows: Int[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
        """Returns the labels of these of the records that are used; no image is decoded or kept."""
        parts = [rows[start : start + AT_A_TIME] for start in range(0, len(rows), AT_A_TIME)]
        return np.array([_label(features) for part in parts for features in self._features(part)], np.int32)

    def _features(self, rows: Int[np.ndarray, " n"]) -> Iterator[Any]:
        chosen = self.rows[np.asarray(rows, np.int64)].tolist()
        for record in self.source.__getitems__(chosen):
            yield example_proto.Example.FromString(record).features.feature


def opened(builder: Any, split: str) -> Records:
    """Returns the records of a split, none of them read. Images are tensors, as bytes or numbers, or PNG."""
    feature = builder.info.features["image"]
    decode = _pixels if isinstance(feature, tfds.features.Image) else _as_they_are
    source = builder.as_data_source(split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    shape: Any = feature.shape
    return Records(source, tuple(shape), decode, np.arange(len(source)))


def arrays(builder: Any, split: str) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]]:
    """Returns images and labels of a split, in the order of the records.

    Images are tensors of raw bytes (our builders), or PNG (the stock ones). Raises `DataError` where files are missing
    or do not hold what the builder describes.
    """
    where = f"{builder.info.name}: the {split} split in {builder.data_dir}"
    try:
        records = opened(builder, split)
        images, labels = records.read(records.rows)
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images, {len(labels)} labels")
    except Exception as error:  # array_record raises bare RuntimeErrors, tfds and Pillow half a dozen kinds
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{where} cannot be read ({reason}). Remove that folder and run again") from error
    if not len(images):
        raise DataError(f"{where} is empty. Remove that folder and run again")
    return images, labels


def _label(features: Any) -> int:
    return features["label"].int64_list.value[0]


def _as_they_are(image: Any) -> bytes:
    packed = image.bytes_list.value
    return packed[0] if packed else bytes(image.int64_list.value)


def _pixels(image: Any) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(image.bytes_list.value[0])) as picture:
        return picture.tobytes()
