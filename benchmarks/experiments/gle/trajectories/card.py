"""The card of trajectories."""

from benchmarks.card import Card
from benchmarks.experiments.gle.trajectories.figures import draw
from benchmarks.experiments.gle.trajectories.model import Trajectories, gle_trajectories
from benchmarks.metric import Metric

METRICS = (
    Metric("adjoint_train_loss", higher_is_better=False, split="train"),
    Metric("*weight_error", higher_is_better=False),
)

CARDS = (Card(name="gle-trajectories", config=Trajectories, function=gle_trajectories, figures=draw, metrics=METRICS),)
