"""The card of the alignment experiment."""

from benchmarks.card import Card
from benchmarks.experiments.sal.alignment.figures import figure_8
from benchmarks.experiments.sal.alignment.model import Alignment, AlignmentTraining, alignment
from benchmarks.metric import Metric

METRICS = (Metric("angle_*", higher_is_better=False),)

CARDS = (
    Card(
        name="sal-alignment",
        config=Alignment,
        function=alignment,
        training=AlignmentTraining,
        figures=figure_8,
        metrics=METRICS,
    ),
)
