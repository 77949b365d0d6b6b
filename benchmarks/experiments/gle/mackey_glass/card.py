"""The card of Mackey-Glass."""

from benchmarks.card import Card, Published
from benchmarks.experiments.gle.mackey_glass.figures import draw_continuation
from benchmarks.experiments.gle.mackey_glass.model import MackeyGlass, MackeyGlassTraining, gle_mackey_glass

CARDS = (
    Card(
        name="gle-mackey-glass",
        config=MackeyGlass,
        function=gle_mackey_glass,
        training=MackeyGlassTraining,
        figures=draw_continuation,
        published=(
            Published("smape", 14.25, source="Ellenberger et al. 2024, Fig. 10d, last epoch", higher_is_better=False),
            Published(
                "oracle_smape", 9.25, source="Ellenberger et al. 2024, Fig. 10d, best epoch", higher_is_better=False
            ),
        ),
    ),
)
