"""The card of the small network."""

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.small.figures import draw
from benchmarks.experiments.gle.small.model import Small, gle_small

CARDS = (
    Card(
        name="gle-small",
        config=Small,
        function=gle_small,
        figures=draw,
        published=(
            Published("weight_error", 0.0, source="Ellenberger et al. 2024, Fig. 6e", higher_is_better=False),
            Published("adjoint_weight_error", 0.0, source="Ellenberger et al. 2024, Fig. 6e", higher_is_better=False),
        ),
    ),
)
