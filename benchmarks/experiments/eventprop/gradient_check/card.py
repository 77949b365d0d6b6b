"""The card of the gradient check."""

from benchmarks.card import Card, Published
from benchmarks.experiments.eventprop.gradient_check.figures import draw_check
from benchmarks.experiments.eventprop.gradient_check.model import GradientCheck, gradient_check

CARDS = (
    Card(
        name="eventprop-gradient-check",
        config=GradientCheck,
        function=gradient_check,
        figures=draw_check,
        double=True,
        published=(
            Published("max_relative_deviation", 1e-7, source="Wunderlich & Pehle 2021, Fig. 1", higher_is_better=False),
        ),
    ),
)
