"""The card of the spiking microcircuit."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.microcircuit.figures import figure_6
from benchmarks.experiments.sal.microcircuit.model import MicrocircuitTask, MicrocircuitTraining, microcircuit
from benchmarks.metric import Metric

METRICS = (
    Metric("w*_*"),
    Metric("b_*"),
    Metric("validation_loss_*", higher_is_better=False),
    Metric("found_*", higher_is_better=True),
)

CARDS = (
    Card(
        name="sal-microcircuit",
        config=MicrocircuitTask,
        function=microcircuit,
        training=MicrocircuitTraining,
        figures=figure_6,
        metrics=METRICS,
        published=tuple(
            Published(f"{weight}_{method}", 2.0, source="Gierlich et al., Fig. 6c")
            for method in ("sal", "bp")
            for weight in ("w10", "w21")
        ),
    ),
)
"""The teacher's weights, which students with SAL and BP find."""
