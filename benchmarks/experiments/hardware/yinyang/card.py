"""The cards of Yin-Yang on a chip."""

import functools

from benchmarks.card import Card, Published
from benchmarks.experiments.hardware.figures import draw_training
from benchmarks.experiments.hardware.yinyang.model import (
    ChipYinYang,
    ChipYinYangDelays,
    ChipYinYangFirst,
    chip_yinyang,
    training_of,
)
from benchmarks.metric import Metric

METRICS = (
    Metric("events_dropped", higher_is_better=False),
    Metric("spikes_per_neuron"),
)


def _card(name: str, config: type, *published: Published) -> Card:
    return Card(
        name=name,
        config=config,
        function=chip_yinyang,
        training=training_of,
        figures=functools.partial(draw_training, published=published),
        published=published,
        metrics=METRICS,
    )


CARDS = (
    _card(
        "hardware-yinyang",
        ChipYinYang,
        Published("test_accuracy", 0.950, 0.009, source="Göltz et al. 2021, 120 hidden, first spikes, on the chip"),
    ),
    _card(
        "hardware-yinyang-first",
        ChipYinYangFirst,
        Published("test_accuracy", 0.849, seeds=1, epochs=300, source="30 hidden, first spikes, on the chip"),
    ),
    _card(
        "hardware-yinyang-delays",
        ChipYinYangDelays,
        Published("test_accuracy", 0.926, seeds=1, epochs=300, source="30 hidden, axonal delays, on the chip"),
    ),
)
