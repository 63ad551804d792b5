"""MNIST, Fashion-MNIST and KMNIST as tensorflow-datasets builders, from IDX files. No TensorFlow, no network."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jbackprop.training.idx_files import SIDE, Examples

SHAPE = (SIDE, SIDE, 1)


class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builder of `mnist`: splits `train` and `test`, written in the order of the files.

    Images are tensors, kept as raw bytes, not tfds images: neither a PNG encoder nor TensorFlow is needed, and all
    of them are read five times faster.
    """

    name = "mnist"
    VERSION = tfds.core.Version("1.0.0")
    DESCRIPTION = "Handwritten digits, 28x28 grey images (LeCun, Cortes and Burges)."
    HOMEPAGE = "https://yann.lecun.com/exdb/mnist/"
    LABELS = tuple("0123456789")

    def __init__(
        self,
        *,
        examples: Mapping[str, Examples],
        differing: Mapping[str, str],
        **settings: Any,
    ) -> None:
        """`examples` are those of each split; `differing` (of `published.differing`) is kept as metadata."""
        self.examples = dict(examples)
        self.differing = dict(differing)
        super().__init__(**settings)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=SHAPE, dtype=np.uint8, encoding="bytes"),
                    "label": tfds.features.ClassLabel(names=list(self.LABELS)),
                }
            ),
            supervised_keys=("image", "label"),
            homepage=self.HOMEPAGE,
            disable_shuffling=True,  # published results depend on the order of the files
            metadata=tfds.core.MetadataDict(differing=self.differing),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        return {name: self._generate_examples(examples) for name, examples in self.examples.items()}

    def _generate_examples(self, examples: Examples) -> Iterator[tuple[int, dict[str, Any]]]:
        for row, (image, label) in enumerate(zip(examples.images, examples.labels.tolist(), strict=True)):
            yield row, {"image": image, "label": label}


class FashionMnist(Mnist, skip_registration=True):
    """Builder of `fashion_mnist`, Zalando's pictures of clothes in MNIST's format."""

    name = "fashion_mnist"
    DESCRIPTION = "Articles of clothing, 28x28 grey images in the format of MNIST (Xiao, Rasul and Vollgraf, 2017)."
    HOMEPAGE = "https://github.com/zalandoresearch/fashion-mnist"
    LABELS = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip


class Kmnist(Mnist, skip_registration=True):
    """Builder of `kmnist`, one cursive Japanese character of each row of the hiragana table."""

    name = "kmnist"
    DESCRIPTION = "Cursive Japanese characters, 28x28 grey images in the format of MNIST (Clanuwat and others, 2018)."
    HOMEPAGE = "https://codh.rois.ac.jp/kmnist/"
    LABELS = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


BUILDERS: dict[str, type[Mnist]] = {kind.name: kind for kind in (Mnist, FashionMnist, Kmnist)}
