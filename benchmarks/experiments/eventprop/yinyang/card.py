"""The cards of Yin-Yang."""

import functools

from benchmarks.card import Card, Published
from benchmarks.experiments.eventprop.yinyang.figures import draw_training
from benchmarks.experiments.eventprop.yinyang.model import (
    YinYang,
    YinYangDelays,
    YinYangPaper,
    YinYangRecurrent,
    YinYangTraining,
    yinyang_experiment,
)
from benchmarks.metric import Metric

METRICS = (
    Metric("spikes_lost", higher_is_better=False),
    Metric("spikes_per_neuron"),
)


def _card(name: str, config: type, *published: Published) -> Card:
    return Card(
        name=name,
        config=config,
        function=yinyang_experiment,
        training=YinYangTraining,
        figures=functools.partial(draw_training, published=published),
        published=published,
        metrics=METRICS,
    )


CARDS = (
    _card(
        "eventprop-yinyang",
        YinYang,
        Published("test_accuracy", 0.981, 0.0018, seeds=10, epochs=100, source="later recipe, test set, authors' code"),
    ),
    _card(
        "eventprop-yinyang-paper",
        YinYangPaper,
        Published("validation_accuracy", 0.959, 0.005, seeds=10, source="Wunderlich & Pehle 2021, Fig. 3"),
    ),
    _card(
        "eventprop-yinyang-delays",
        YinYangDelays,
        Published("test_accuracy", 0.982, seeds=1, epochs=300, source="synaptic delays; axonal 97.5 %, none 96.7 %"),
    ),
    _card("eventprop-yinyang-recurrent", YinYangRecurrent),
)
