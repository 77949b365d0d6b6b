"""The card of the gradient check."""

from benchmarks.card import Card, Published
from benchmarks.experiments.eventprop.gradient_check.figures import draw_check
from benchmarks.experiments.eventprop.gradient_check.model import GradientCheck, gradient_check
from benchmarks.metric import Metric

METRICS = (
    Metric("max_relative_deviation", higher_is_better=False),
    Metric("*_neuron_spikes"),
)

CARDS = (
    Card(
        name="eventprop-gradient-check",
        config=GradientCheck,
        function=gradient_check,
        figures=draw_check,
        metrics=METRICS,
        double=True,
        published=(Published("max_relative_deviation", 1e-7, source="Wunderlich & Pehle 2021, Fig. 1"),),
    ),
)
