"""Five-point central differences: error of fourth order, so that several steps can compete."""

from collections.abc import Callable, Sequence

import numpy as np

STENCIL = {2: -1 / 12, 1: 8 / 12, -1: -8 / 12, -2: 1 / 12}


def central_differences(
    function: Callable, x: np.ndarray, directions: np.ndarray, steps: Sequence[float]
) -> np.ndarray:
    """Derivatives of `function` (batched) at `x` [n] along `directions` [m, n]: [steps, m, ...]."""
    offsets = np.array([k * h for h in steps for k in STENCIL])
    points = x + offsets[:, None, None] * directions
    values = np.asarray(function(points.reshape(-1, x.size)))
    values = values.reshape(len(steps), len(STENCIL), len(directions), *values.shape[1:])
    coefficients = np.array(list(STENCIL.values()))
    return np.stack([np.tensordot(coefficients, v, 1) / h for v, h in zip(values, steps, strict=True)])
