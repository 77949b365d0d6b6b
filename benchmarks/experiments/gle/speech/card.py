"""The card of the reduced Speech Commands; no figure was published for these clips."""

from benchmarks.card import Card
from benchmarks.experiments.gle.speech.figures import draw
from benchmarks.experiments.gle.speech.model import Speech, SpeechTraining, speech_experiment

CARDS = (Card(name="gle-speech", config=Speech, function=speech_experiment, training=SpeechTraining, figures=draw),)
