"""The card of natural gradients."""

from benchmarks.card import Card
from benchmarks.experiments.gle.natural_gradient.figures import draw
from benchmarks.experiments.gle.natural_gradient.model import (
    NaturalGradient,
    NaturalGradientTraining,
    natural_gradient,
)
from benchmarks.metric import Metric

METRICS = (
    Metric("cost_*", higher_is_better=False),
    Metric("distance_*", higher_is_better=False),
)

CARDS = (
    Card(
        name="gle-natural-gradient",
        config=NaturalGradient,
        function=natural_gradient,
        training=NaturalGradientTraining,
        figures=draw,
        metrics=METRICS,
    ),
)
"""Nothing of this was published as a number."""
