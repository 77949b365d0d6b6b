"""The card of the sampled distribution."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.distribution.figures import draw
from benchmarks.experiments.sal.distribution.model import Distribution, distribution

CARDS = (
    Card(
        name="sal-distribution",
        config=Distribution,
        function=distribution,
        figures=draw,
        published=(Published("kl", 0.0, source="Gierlich et al., Fig. 3c: agreement", higher_is_better=False),),
    ),
)
"""The floor of D_KL is (states - 1) / 2 over the number of independent samples."""
