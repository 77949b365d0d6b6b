"""The card of the transports."""

from benchmarks.card import Card
from benchmarks.experiments.sal.transport.figures import draw
from benchmarks.experiments.sal.transport.model import Transport, TransportTraining, transport
from benchmarks.metric import Metric

METRICS = (
    Metric("angle_*", higher_is_better=False),
    Metric("loss_*", higher_is_better=False, split="train"),
)

CARDS = (
    Card(
        name="sal-transport",
        config=Transport,
        function=transport,
        training=TransportTraining,
        figures=draw,
        metrics=METRICS,
    ),
)
"""Nothing of this was published: the figures are ours."""
