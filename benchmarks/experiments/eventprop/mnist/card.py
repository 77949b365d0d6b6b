"""The card of MNIST."""

import functools

from benchmarks.card import Card, Published
from benchmarks.experiments.eventprop.mnist.figures import draw_digits
from benchmarks.experiments.eventprop.mnist.model import Mnist, MnistTraining, mnist_experiment
from benchmarks.metric import Metric

METRICS = (
    Metric("spikes_lost", higher_is_better=False),
    Metric("spikes_per_neuron"),
    Metric("most_spikes"),
)

PUBLISHED = (
    Published("test_accuracy", 0.9758, 0.0012, seeds=10, epochs=100, source="authors' code, half of the test set"),
)
CARDS = (
    Card(
        name="eventprop-mnist",
        config=Mnist,
        function=mnist_experiment,
        training=MnistTraining,
        figures=functools.partial(draw_digits, published=PUBLISHED),
        published=PUBLISHED,
        metrics=METRICS,
    ),
)
