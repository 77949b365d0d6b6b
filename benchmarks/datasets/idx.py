"""MNIST and Fashion-MNIST, from their idx files.

Features are grey values 0 to 255, uint8 `[samples, 28, 28]`. The splits hold 55 000, 5 000 and 10 000 samples: the last
5 000 of the published training set are kept for validation.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from benchmarks.datasets._types import DataSet, Split
from benchmarks.datasets.lookup import File, read
from benchmarks.errors import InvalidInput

_UNSIGNED_BYTE = 8


def parse(content: bytes) -> UInt8[np.ndarray, "..."]:
    """The array in an idx file: two zero bytes, the type, the number of axes, their lengths, and the elements.

    **Raises:** `ValueError` if `content` is no idx file of unsigned bytes or has the wrong length.
    """
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise InvalidInput(f"content starts with {content[:4]!r} and is no idx file of unsigned bytes")
    axes = content[3]
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * axes], ">u4").tolist())
    elements = np.frombuffer(content[4 + 4 * axes :], np.uint8)
    if len(shape) != axes or elements.size != math.prod(shape):
        raise InvalidInput(f"content holds {elements.size} bytes of elements, which do not fill the shape {shape}")
    return elements.reshape(shape)


@dataclass(frozen=True)
class Archive:
    """The four files of a data set: an image and a label file of two parts.

    **Arguments:**

    - `name`: of the data set and of its folder.
    - `classes`: what the labels 0, 1, ... mean.
    - `url`: of the folder that the files are downloaded from.
    - `sha256`: of each file's unpacked bytes.
    - `validation`: how many of the last training samples are kept for validation.
    """

    name: str
    classes: tuple[str, ...]
    url: str
    sha256: dict[str, str]
    validation: int = 5000

    def load(self) -> DataSet:
        """Reads, checks and splits the files.

        **Raises:** `FileNotFoundError`, `ValueError` if a file is missing or damaged.
        """
        train = self._read("train")
        cut = len(train) - self.validation
        return DataSet(
            self.name,
            self.classes,
            train=Split(train.features[:cut], train.labels[:cut]),
            validation=Split(train.features[cut:], train.labels[cut:]),
            test=self._read("t10k"),
        )

    def _read(self, part: str) -> Split:
        images, labels = (
            parse(read(self.name, File(name, self.sha256[name], f"{self.url}/{name}.gz")))
            for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
        )
        return Split(images, labels.astype(np.int32))


# LeCun, Cortes, Burges, 1998: handwritten digits.
MNIST = Archive(
    name="mnist",
    classes=tuple("0123456789"),
    url="https://ossci-datasets.s3.amazonaws.com/mnist",
    sha256={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)

# Xiao, Rasul, Vollgraf, 2017: articles of clothing.
FASHION_MNIST = Archive(
    name="fashion_mnist",
    classes=(
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    url="https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
    sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)
