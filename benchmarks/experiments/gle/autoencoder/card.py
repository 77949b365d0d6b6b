"""The card of the autoencoder."""

from benchmarks.card import Card
from benchmarks.experiments.gle.autoencoder.figures import draw
from benchmarks.experiments.gle.autoencoder.model import Autoencoder, AutoencoderTraining, autoencoder
from benchmarks.metric import Metric

METRICS = (
    Metric("angle_*", higher_is_better=False),
    *(Metric(f"{split}_loss_*", higher_is_better=False) for split in ("validation", "test")),
    *(Metric(f"{split}_accuracy_*", higher_is_better=True) for split in ("validation", "test")),
)

CARDS = (
    Card(
        name="gle-autoencoder",
        config=Autoencoder,
        function=autoencoder,
        training=AutoencoderTraining,
        figures=draw,
        metrics=METRICS,
    ),
)
"""None of these figures was printed as a number."""
