"""The card of the transports."""

from benchmarks.card import Card
from benchmarks.experiments.sal.transport.figures import draw
from benchmarks.experiments.sal.transport.model import Transport, TransportTraining, transport

CARDS = (Card(name="sal-transport", config=Transport, function=transport, training=TransportTraining, figures=draw),)
"""Nothing of this was published: the figures are ours."""
