"""The card of the sampled distribution."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.distribution.figures import draw
from benchmarks.experiments.sal.distribution.model import Distribution, distribution
from benchmarks.metric import Metric

METRICS = (Metric("kl", higher_is_better=False), Metric("largest_difference", higher_is_better=False))

CARDS = (
    Card(
        name="sal-distribution",
        config=Distribution,
        function=distribution,
        figures=draw,
        metrics=METRICS,
        published=(Published("kl", 0.0, source="Gierlich et al., Fig. 3c: agreement"),),
    ),
)
"""The floor of D_KL is (states - 1) / 2 over the number of independent samples."""
