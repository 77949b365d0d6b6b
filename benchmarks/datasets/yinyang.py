"""The Yin-Yang data set (Kriener, Göltz, Petrovici: The Yin-Yang Dataset, NICE 2022).

Points in the disc of radius `R_BIG` around (R_BIG, R_BIG), in three classes: two interlocked drops (0 "yin", 1 "yang")
and the dots of radius `R_SMALL` in their heads (2 "dot"). The default arrays equal the published ones bit for bit.
"""

import numpy as np
from jaxtyping import Float, Int

from benchmarks.datasets._types import DataSet, Split
from benchmarks.errors import InvalidInput

R_SMALL = 0.1
R_BIG = 0.5
CLASSES = ("yin", "yang", "dot")


def classify(x: Float[np.ndarray, "..."] | float, y: Float[np.ndarray, "..."] | float) -> Int[np.ndarray, "..."] | int:
    """The class of each point (x, y): 0, 1 or 2, and -1 outside the disc."""
    upper = y > R_BIG
    disc = _squared_distance(x, y, R_BIG) <= R_BIG**2
    left = _squared_distance(x, y, 0.5 * R_BIG)
    right = _squared_distance(x, y, 1.5 * R_BIG)
    # The upper half, less the head of the drop on the right, plus the head of the drop on the left.
    yang = (left <= (0.5 * R_BIG) ** 2) | upper & (right > (0.5 * R_BIG) ** 2)
    dot = (left < R_SMALL**2) | (right < R_SMALL**2)
    # Arithmetic on booleans serves floats, of which `sample` tries many one by one, as well as arrays.
    return disc * (yang * (1 - dot) + 2 * dot + 1) - 1


def _squared_distance(x, y, centre: float):
    return (x - centre) * (x - centre) + (y - R_BIG) * (y - R_BIG)


def sample(size: int, seed: int) -> Split:
    """Draws `size` points: a class uniformly, then points of the square until one of that class turns up.

    Features are (x, y, 1 - x, 1 - y), float64 in [0, 1]. The generator is NumPy's legacy `RandomState`, whose stream is
    frozen, and the draws alternate (class, point, point, ..., class, ...), so they cannot be made in bulk.

    **Raises:** `ValueError` if `size` is negative.
    """
    if size < 0:
        raise InvalidInput(f"size = {size} must not be negative")
    random = np.random.RandomState(seed)
    points = np.empty((size, 2))
    labels = np.empty(size, np.int32)
    for n in range(size):
        label, found = random.randint(3), -1
        while found != label:
            x, y = random.random_sample() * 2 * R_BIG, random.random_sample() * 2 * R_BIG
            found = classify(x, y)
        points[n] = x, y
        labels[n] = label
    return Split(np.concatenate([points, 1.0 - points], axis=1), labels)


def load() -> DataSet:
    """The published splits: 5000 points to train (seed 42), 1000 to validate (41), 1000 to test (40)."""
    return DataSet("yinyang", CLASSES, sample(5000, 42), sample(1000, 41), sample(1000, 40))
