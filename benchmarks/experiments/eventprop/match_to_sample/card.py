"""The cards of delayed match to sample."""

from benchmarks.card import Card
from benchmarks.experiments.eventprop.match_to_sample.figures import draw_trials
from benchmarks.experiments.eventprop.match_to_sample.model import (
    MatchToSample,
    MatchToSampleSurrogate,
    MatchToSampleTraining,
    match_to_sample,
)
from benchmarks.metric import Metric

METRICS = (
    Metric("trials_lost", higher_is_better=False),
    Metric("spikes_per_neuron"),
)


def _card(name: str, config: type) -> Card:
    return Card(name, config, match_to_sample, training=MatchToSampleTraining, figures=draw_trials, metrics=METRICS)


CARDS = (
    _card("eventprop-match-to-sample", MatchToSample),
    _card("eventprop-match-to-sample-surrogate", MatchToSampleSurrogate),
)
