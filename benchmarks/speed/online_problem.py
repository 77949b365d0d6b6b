"""What every contender of the online race does: MNIST-1D's networks on a stream, with an Adam step at every step."""

import itertools
from dataclasses import dataclass

import numpy as np

DT = 0.2
BETA = 1.0
RATE = 1e-3
POPULATIONS = ((1.2, 1.2), (1.2, 0.2), (0.6, 0.2))
CLASSES = 10


@dataclass(frozen=True)
class OnlineProblem:
    """Initial weights [neurons, sources] and biases, time constants, a stream [time, batch, 1] and one-hot targets."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    tau_m: list[np.ndarray]
    tau_r: list[np.ndarray]
    inputs: np.ndarray
    target: np.ndarray
    cores: int

    @staticmethod
    def make(hidden: tuple[int, ...], layers: int = 6, batch: int = 100, cores: int = 1) -> "OnlineProblem":
        """`hidden` neurons of the three populations in each layer. Inputs are as smooth as MNIST-1D's."""
        random = np.random.default_rng(0)
        sizes = [1, *[sum(hidden)] * layers, CLASSES]
        bounds = [1 / np.sqrt(sources) for sources in sizes[:-1]]
        weights = [
            random.uniform(-bound, bound, (neurons, sources)).astype(np.float32)
            for bound, (sources, neurons) in zip(bounds, itertools.pairwise(sizes), strict=True)
        ]
        biases = [
            random.uniform(-bound, bound, neurons).astype(np.float32)
            for bound, neurons in zip(bounds, sizes[1:], strict=True)
        ]
        taus = [np.repeat(tau, hidden).astype(np.float32) for tau in zip(*POPULATIONS, strict=True)]
        tau_m, tau_r = ([tau] * layers + [np.full(CLASSES, 1.2, np.float32)] for tau in taus)
        phase = random.uniform(0, 2 * np.pi, batch)
        inputs = np.sin(0.1 * np.arange(360)[:, None] + phase)[..., None].astype(np.float32)
        target = np.eye(CLASSES, dtype=np.float32)[random.integers(CLASSES, size=batch)]
        return OnlineProblem(weights, biases, tau_m, tau_r, inputs, target, cores)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(x.size for x in (*self.weights, *self.biases))

    @property
    def flop(self) -> int:
        """Multiplications and additions of a step's matrix products: potentials, errors and weight gradients."""
        upper = sum(w.size for w in self.weights[1:])
        return 2 * len(self.target) * (2 * sum(w.size for w in self.weights) + upper)
