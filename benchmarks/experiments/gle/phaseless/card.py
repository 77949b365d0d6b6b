"""The card of phaseless alignment."""

from benchmarks.card import Card
from benchmarks.experiments.gle.phaseless.figures import draw
from benchmarks.experiments.gle.phaseless.model import Phaseless, gle_phaseless

CARDS = (Card(name="gle-phaseless", config=Phaseless, function=gle_phaseless, figures=draw),)
