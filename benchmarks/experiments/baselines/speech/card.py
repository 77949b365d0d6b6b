"""The cards of the other makes; no figure was published for these clips."""

from benchmarks.card import Card
from benchmarks.experiments.baselines.speech.model import GRU, LSTM, MLP, TCN, SpeechBaselineTraining, speech_baseline

CARDS = tuple(
    Card(name=f"speech-{name}", config=config, function=speech_baseline, training=SpeechBaselineTraining)
    for name, config in (("mlp", MLP), ("tcn", TCN), ("gru", GRU), ("lstm", LSTM))
)
