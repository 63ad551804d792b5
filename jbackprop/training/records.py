"""All examples of a prepared split as two arrays, without tfds' decoding of one record at a time."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int32, UInt8
from tensorflow_datasets.proto import tf_example_pb2

from jbackprop.training.data import DataError

example_proto: Any = tf_example_pb2  # type checkers do not see what protobuf generates
Decode = Callable[[bytes], bytes]


def arrays(builder: Any, split: str) -> tuple[UInt8[np.ndarray, "n h w c"], Int32[np.ndarray, " n"]]:
    """Returns images and labels of a split, in the order of the records.

    Images are tensors of raw bytes (our builders), or PNG (the stock ones). Raises `DataError` where files are missing
    or do not hold what the builder describes.
    """
    where = f"{builder.info.name}: the {split} split in {builder.data_dir}"
    try:
        feature = builder.info.features["image"]
        shape: Any = feature.shape
        decode = _pixels if isinstance(feature, tfds.features.Image) else _as_they_are
        source = builder.as_data_source(split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        examples = [_example(record, decode) for record in source.__getitems__(range(len(source)))]
        images = np.frombuffer(b"".join(image for image, _ in examples), np.uint8).reshape(-1, *shape)
        labels = np.array([label for _, label in examples], np.int32)
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images, {len(labels)} labels")
    except Exception as error:  # array_record raises bare RuntimeErrors, tfds and Pillow half a dozen kinds
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{where} cannot be read ({reason}). Remove that folder and run again") from error
    if not len(images):
        raise DataError(f"{where} is empty. Remove that folder and run again")
    return images, labels


def _example(record: bytes, decode: Decode) -> tuple[bytes, int]:
    features = example_proto.Example.FromString(record).features.feature
    return decode(features["image"].bytes_list.value[0]), features["label"].int64_list.value[0]


def _as_they_are(image: bytes) -> bytes:
    return image


def _pixels(image: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(image)) as picture:
        return picture.tobytes()
