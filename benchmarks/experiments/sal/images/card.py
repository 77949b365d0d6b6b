"""The card of the images."""

from benchmarks.card import Card
from benchmarks.experiments.sal.images.figures import draw
from benchmarks.experiments.sal.images.model import Images, ImagesTraining, images

CARDS = (Card(name="sal-images", config=Images, function=images, training=ImagesTraining, figures=draw),)
"""Nothing of this was published: the figures are ours."""
