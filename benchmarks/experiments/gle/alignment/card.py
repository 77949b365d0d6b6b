"""The card of the alignment experiment."""

from benchmarks.card import Card
from benchmarks.experiments.gle.alignment.figures import draw
from benchmarks.experiments.gle.alignment.model import Alignment, AlignmentTraining, gle_alignment

CARDS = (
    Card(
        name="gle-alignment",
        config=Alignment,
        function=gle_alignment,
        training=AlignmentTraining,
        figures=draw,
    ),
)
