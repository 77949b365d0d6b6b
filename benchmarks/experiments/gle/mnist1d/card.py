"""The cards of MNIST-1D."""

import dataclasses

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.mnist1d.figures import draw
from benchmarks.experiments.gle.mnist1d.model import (
    MNIST1D,
    Instantaneous,
    LagNet,
    MNIST1DPaper,
    MNIST1DTraining,
    WithoutDelays,
    mnist1d_experiment,
)

MNIST_1D = Card(
    name="gle-mnist1d",
    config=MNIST1D,
    function=mnist1d_experiment,
    training=MNIST1DTraining,
    figures=draw,
    published=(
        Published("test_accuracy", 0.935, 0.009, seeds=10, epochs=150, source="Ellenberger et al. 2024, Table 2"),
    ),
)
WITHOUT_DELAYS = dataclasses.replace(MNIST_1D, name="gle-mnist1d-undelayed", config=WithoutDelays)
INSTANTANEOUS = dataclasses.replace(MNIST_1D, name="gle-mnist1d-instantaneous", config=Instantaneous, published=())
PAPER = dataclasses.replace(MNIST_1D, name="gle-mnist1d-paper", config=MNIST1DPaper)
LAGNET = dataclasses.replace(
    MNIST_1D,
    name="gle-lagnet",
    config=LagNet,
    published=(
        Published("test_accuracy", 0.909, 0.006, seeds=10, epochs=150, source="Ellenberger et al. 2024, Fig. 8f"),
    ),
)
CARDS = (MNIST_1D, PAPER, WITHOUT_DELAYS, INSTANTANEOUS, LAGNET)
