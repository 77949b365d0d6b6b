"""The card of the bars."""

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.bars.figures import draw
from benchmarks.experiments.gle.bars.model import Bars, gle_bars
from benchmarks.metric import Metric

METRICS = (Metric("*_accuracy*", higher_is_better=True, split="train"),)

CARDS = (
    Card(
        name="gle-bars",
        config=Bars,
        function=gle_bars,
        figures=draw,
        metrics=METRICS,
        published=(Published("prospective_accuracy", 1.0, source="Haider et al. 2021, Fig. 5"),),
    ),
)
