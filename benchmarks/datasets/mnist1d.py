"""MNIST-1D (Greydanus 2020): ten noisy one-dimensional "digits", here as streams of 360 steps.

The package `mnist1d` generates the samples; nothing is downloaded. Its published split (seed 42, 4000 to train and 1000
to test) is kept, and a thousand samples of another seed are for validation, so that the test split is looked at once.
"""

import contextlib
import random
from collections.abc import Iterator

import numpy as np

from benchmarks.datasets._types import DataSet, Split
from benchmarks.errors import InvalidInput, MissingPackage

CLASSES = tuple("0123456789")
VALIDATION_SEED = 1042


def load(steps: int = 360) -> DataSet:
    """The three splits; features [samples, steps], normalised over the generated set."""
    if steps < 1:
        raise InvalidInput(f"steps must be positive, but is {steps}.")
    published, fresh = _generate(5000, 42, steps), _generate(1250, VALIDATION_SEED, steps)
    train, test = (Split(published["x" + part], published["y" + part].astype(np.int32)) for part in ("", "_test"))
    validation = Split(fresh["x"], fresh["y"].astype(np.int32))
    return DataSet("mnist1d", CLASSES, train, validation, test)


def _generate(samples: int, seed: int, steps: int) -> dict[str, np.ndarray]:
    """80 % of the samples are x, y, the rest is x_test, y_test."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset
        from mnist1d.utils import ObjectView
    except ImportError as error:
        raise MissingPackage('MNIST-1D needs the package mnist1d: pip install "credax[benchmarks]"') from error
    changes = {"num_samples": samples, "seed": seed, "final_seq_length": steps}
    with _untouched_generators():
        return make_dataset(ObjectView({**vars(get_dataset_args()), **changes}))


@contextlib.contextmanager
def _untouched_generators() -> Iterator[None]:
    """The package seeds Python's and NumPy's global generators; here they are as before in the end."""
    state, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(legacy)  # noqa: NPY002
