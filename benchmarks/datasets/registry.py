"""Data sets by name, for command lines."""

from benchmarks.datasets import cifar10, idx, mnist1d, speech_commands, yinyang
from benchmarks.datasets._types import DataSet
from benchmarks.errors import InvalidInput

_LOADERS = {
    "yinyang": yinyang.load,
    "mnist1d": mnist1d.load,
    "mnist": idx.MNIST.load,
    "fashion_mnist": idx.FASHION_MNIST.load,
    "cifar10_subset": cifar10.load_subset,
    "speech_commands_subset": speech_commands.load,
}


def load(name: str) -> DataSet:
    """The data set called `name`: yinyang, mnist1d, mnist, fashion_mnist, cifar10_subset or
    speech_commands_subset.

    **Raises:** `ValueError` for any other name; `FileNotFoundError`, `ValueError` if a file is missing or damaged.
    """
    if name not in _LOADERS:
        raise InvalidInput(f"name = {name!r} is no data set; choose one of {', '.join(_LOADERS)}")
    return _LOADERS[name]()
