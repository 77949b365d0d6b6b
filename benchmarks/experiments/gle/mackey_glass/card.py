"""The card of Mackey-Glass."""

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.mackey_glass.figures import draw
from benchmarks.experiments.gle.mackey_glass.model import MackeyGlass, MackeyGlassTraining, gle_mackey_glass
from benchmarks.metric import Metric

METRICS = (Metric("*smape", higher_is_better=False, split="test"),)

CARDS = (
    Card(
        name="gle-mackey-glass",
        config=MackeyGlass,
        function=gle_mackey_glass,
        training=MackeyGlassTraining,
        figures=draw,
        metrics=METRICS,
        published=(
            Published("smape", 14.25, source="Ellenberger et al. 2024, Fig. 10d, last epoch"),
            Published("oracle_smape", 9.25, source="Ellenberger et al. 2024, Fig. 10d, best epoch"),
        ),
    ),
)
