"""The card of the small network."""

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.small.figures import draw
from benchmarks.experiments.gle.small.model import Small, gle_small
from benchmarks.metric import Metric

METRICS = (
    Metric("adjoint_train_loss", higher_is_better=False, split="train"),
    Metric("*weight_error", higher_is_better=False),
    Metric("phase_deviation", higher_is_better=False),
)

CARDS = (
    Card(
        name="gle-small",
        config=Small,
        function=gle_small,
        figures=draw,
        metrics=METRICS,
        published=(
            Published("weight_error", 0.0, source="Ellenberger et al. 2024, Fig. 6e"),
            Published("adjoint_weight_error", 0.0, source="Ellenberger et al. 2024, Fig. 6e"),
        ),
    ),
)
