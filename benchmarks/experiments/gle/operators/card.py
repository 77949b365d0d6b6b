"""The card of the operators."""

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.operators.figures import draw
from benchmarks.experiments.gle.operators.model import Operators, gle_operators
from benchmarks.metric import Metric

METRICS = (Metric("*_deviation", higher_is_better=False),)

CARDS = (
    Card(
        name="gle-operators",
        config=Operators,
        function=gle_operators,
        figures=draw,
        metrics=METRICS,
        double=True,
        published=(
            Published("phase_deviation", 0.0, source="Ellenberger et al. 2024, Eq. 29"),
            Published("gain_product_deviation", 0.0, source="Ellenberger et al. 2024, Eq. 32"),
        ),
    ),
)
