"""The card of the images."""

from benchmarks.card import Card
from benchmarks.experiments.sal.images.figures import draw
from benchmarks.experiments.sal.images.model import Images, ImagesTraining, images
from benchmarks.metric import Metric

METRICS = (
    Metric("kl_*", higher_is_better=False),
    Metric("mass_*", higher_is_better=True),
    Metric("completed", higher_is_better=True),
    Metric("completion_error", higher_is_better=False),
)

CARDS = (
    Card(name="sal-images", config=Images, function=images, training=ImagesTraining, figures=draw, metrics=METRICS),
)
"""Nothing of this was published: the figures are ours."""
