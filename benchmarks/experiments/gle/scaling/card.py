"""The card of the scaling experiment."""

from benchmarks.card import Card
from benchmarks.experiments.gle.scaling.figures import draw
from benchmarks.experiments.gle.scaling.model import Scaling, ScalingTraining, gle_scaling
from benchmarks.metric import Metric

METRICS = (Metric("*_accuracy", higher_is_better=True, split="validation"),)

CARDS = (
    Card(
        name="gle-scaling",
        config=Scaling,
        function=gle_scaling,
        training=ScalingTraining,
        figures=draw,
        metrics=METRICS,
    ),
)
