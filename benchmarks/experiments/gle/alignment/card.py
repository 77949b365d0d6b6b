"""The card of the alignment experiment."""

from benchmarks.card import Card
from benchmarks.experiments.gle.alignment.figures import draw
from benchmarks.experiments.gle.alignment.model import Alignment, AlignmentTraining, gle_alignment
from benchmarks.metric import Metric

METRICS = (
    Metric("*_cosine_*", higher_is_better=True, split="validation"),
    Metric("error_*", higher_is_better=False, split="validation"),
    Metric("energy", higher_is_better=False, split="validation"),
)

CARDS = (
    Card(
        name="gle-alignment",
        config=Alignment,
        function=gle_alignment,
        training=AlignmentTraining,
        figures=draw,
        metrics=METRICS,
    ),
)
