"""The card of the spiking microcircuit."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.microcircuit.figures import figure_6
from benchmarks.experiments.sal.microcircuit.model import MicrocircuitTask, MicrocircuitTraining, microcircuit

CARDS = (
    Card(
        name="sal-microcircuit",
        config=MicrocircuitTask,
        function=microcircuit,
        training=MicrocircuitTraining,
        figures=figure_6,
        published=tuple(
            Published(f"{weight}_{method}", 2.0, source="Gierlich et al., Fig. 6c")
            for method in ("sal", "bp")
            for weight in ("w10", "w21")
        ),
    ),
)
"""The teacher's weights, which students with SAL and BP find."""
