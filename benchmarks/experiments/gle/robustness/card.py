"""The card of the robustness experiment."""

from benchmarks.card import Card
from benchmarks.experiments.gle.robustness.figures import draw
from benchmarks.experiments.gle.robustness.model import Robustness, RobustnessTraining, gle_robustness
from benchmarks.metric import Metric

METRICS = (Metric("*_accuracy", higher_is_better=True, split="validation"),)

CARDS = (
    Card(
        name="gle-robustness",
        config=Robustness,
        function=gle_robustness,
        training=RobustnessTraining,
        figures=draw,
        metrics=METRICS,
    ),
)
