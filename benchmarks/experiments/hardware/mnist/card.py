"""The card of MNIST on a chip."""

import functools

from benchmarks.card import Card, Published
from benchmarks.experiments.hardware.figures import draw_training
from benchmarks.experiments.hardware.mnist.model import ChipMnist, ChipMnistTraining, chip_mnist
from benchmarks.metric import Metric

METRICS = (
    Metric("events_dropped", higher_is_better=False),
    Metric("spikes_per_neuron"),
)

PUBLISHED = (Published("test_accuracy", 0.972, 0.001, epochs=50, source="Cramer et al. 2022, 256-246-10, on the chip"),)

CARDS = (
    Card(
        name="hardware-mnist",
        config=ChipMnist,
        function=chip_mnist,
        training=ChipMnistTraining,
        figures=functools.partial(draw_training, published=PUBLISHED),
        published=PUBLISHED,
        metrics=METRICS,
    ),
)
