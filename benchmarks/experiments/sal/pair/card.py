"""The card of the pair."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.pair.figures import draw
from benchmarks.experiments.sal.pair.model import Pair, sal_pair

CARDS = (
    Card(
        name="sal-pair",
        config=Pair,
        function=sal_pair,
        figures=draw,
        published=(
            Published("both_distance_to_target", 0.0, source="Gierlich et al., Fig. 2d", higher_is_better=False),
            Published("one_distance_to_target", 0.0, source="Gierlich et al., Fig. 2d", higher_is_better=False),
        ),
    ),
)
