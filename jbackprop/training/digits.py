"""scikit-learn's bundled 8x8 handwritten digits as a tensorflow-datasets builder. No TensorFlow, no network."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jbackprop.training.data import CLASSES

TEST_SHARE = 0.25
SPLIT_SEED = 0

DESCRIPTION = f"""\
1,797 handwritten digits of 8x8 pixels with values 0 to 16, from scikit-learn's bundled copy of the test set of
"Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998).

The split is random and stratified: {TEST_SHARE:.0%} of each class is the test split, drawn by scikit-learn's
train_test_split with random_state={SPLIT_SEED}, which gives 1,347 training and 450 test images. The file is ordered by
writer; taking its last rows as the test set instead makes the task harder by four to five points of accuracy.
`index` is the row of an image in scikit-learn's file.
"""


class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builder of `digits`: splits `train` (1,347) and `test` (450).

    Images are tensors, not tfds images, so that neither a PNG encoder nor TensorFlow is needed.
    """

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=CLASSES),
                    "index": tfds.features.Scalar(dtype=np.int64),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        from sklearn.datasets import load_digits  # takes a second to import, and only the first preparation needs it
        from sklearn.model_selection import train_test_split

        digits: Any = load_digits()
        train, test = train_test_split(
            np.arange(len(digits.target)), test_size=TEST_SHARE, stratify=digits.target, random_state=SPLIT_SEED
        )
        rows = {"train": np.asarray(train), "test": np.asarray(test)}
        return {split: self._generate_examples(digits, rows[split]) for split in rows}

    def _generate_examples(self, digits: Any, rows: np.ndarray) -> Iterator[tuple[int, dict[str, Any]]]:
        for row in rows.tolist():
            image = digits.images[row].astype(np.uint8)[..., None]
            yield row, {"image": image, "label": int(digits.target[row]), "index": row}
