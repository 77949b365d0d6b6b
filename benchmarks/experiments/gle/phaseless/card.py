"""The card of phaseless alignment."""

from benchmarks.card import Card
from benchmarks.experiments.gle.phaseless.figures import draw
from benchmarks.experiments.gle.phaseless.model import Phaseless, gle_phaseless
from benchmarks.metric import Metric

METRICS = (
    Metric("angle_*", higher_is_better=False),
    Metric("largest_angle", higher_is_better=False),
)

CARDS = (Card(name="gle-phaseless", config=Phaseless, function=gle_phaseless, figures=draw, metrics=METRICS),)
