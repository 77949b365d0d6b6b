"""The card of the operators."""

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.operators.figures import draw
from benchmarks.experiments.gle.operators.model import Operators, gle_operators

CARDS = (
    Card(
        name="gle-operators",
        config=Operators,
        function=gle_operators,
        figures=draw,
        double=True,
        published=(
            Published("phase_deviation", 0.0, source="Ellenberger et al. 2024, Eq. 29", higher_is_better=False),
            Published("gain_product_deviation", 0.0, source="Ellenberger et al. 2024, Eq. 32", higher_is_better=False),
        ),
    ),
)
