"""CIFAR-10 (Krizhevsky 2009), of which a subset for smoke tests: its figures compare with no published one.

Features are red, green and blue values 0 to 255, uint8 `[samples, 32, 32, 3]`. The splits hold 3500, 500 and 1000
samples: the first 4000 of the published training set, the last 500 of them for validation, and the first 1000 of the
published test set.
"""

import io

import numpy as np

from benchmarks.datasets._types import DataSet, Split
from benchmarks.datasets.lookup import File, read

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VALIDATION = 500
SUBSET = File(
    "cifar10_first4000_train_first1000_test.npz",
    sha256="5e81f99fe5af185b32d0cb5efbf72c956a858f8e684fdfba6995f9e197878f5c",
    url=None,
)


def load_subset() -> DataSet:
    """Reads and splits the subset, an npz file with the arrays x_train, y_train, x_test and y_test.

    **Raises:** `FileNotFoundError`, `ValueError` if it is missing or damaged.
    """
    with np.load(io.BytesIO(read("cifar10_subset", SUBSET)), allow_pickle=False) as arrays:
        train, test = (Split(arrays[f"x_{part}"], arrays[f"y_{part}"].astype(np.int32)) for part in ("train", "test"))
    cut = len(train) - VALIDATION
    return DataSet(
        "cifar10_subset",
        CLASSES,
        train=Split(train.features[:cut], train.labels[:cut]),
        validation=Split(train.features[cut:], train.labels[cut:]),
        test=test,
    )
