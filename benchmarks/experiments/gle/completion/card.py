"""The card of completed traces."""

from benchmarks.card import Card
from benchmarks.experiments.gle.completion.figures import draw
from benchmarks.experiments.gle.completion.model import Completion, gle_completion
from benchmarks.metric import Metric

METRICS = (Metric("*test_correlation", higher_is_better=True, split="test"),)

CARDS = (Card(name="gle-completion", config=Completion, function=gle_completion, figures=draw, metrics=METRICS),)
