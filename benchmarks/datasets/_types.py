"""What every data set looks like."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Shaped


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    **Arguments:**

    - `features`: one sample per leading index; scale and further axes are the data set's own.
    - `labels`: the class of each sample, an index into `DataSet.classes`.
    """

    features: Shaped[np.ndarray, "samples ..."]
    labels: Int32[np.ndarray, " samples"]

    def __len__(self) -> int:
        return len(self.labels)

    def maps(self) -> Shaped[np.ndarray, "samples channels height width"]:
        """Images, grey ones `[samples, height, width]` or ones with colours as the last axis, with channels first."""
        images = self.features
        return images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)


@dataclass(frozen=True, eq=False)
class DataSet:
    """A classification task: learn from `train`, choose settings by `validation`, report `test` once."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
