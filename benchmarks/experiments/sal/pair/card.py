"""The card of the pair."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.pair.figures import draw
from benchmarks.experiments.sal.pair.model import Pair, sal_pair
from benchmarks.metric import Metric

METRICS = (
    Metric("*_final_difference", higher_is_better=False),
    Metric("*_distance_to_target", higher_is_better=False),
    Metric("*_distance_from_theory", higher_is_better=False),
    Metric("replica_std"),
)

CARDS = (
    Card(
        name="sal-pair",
        config=Pair,
        function=sal_pair,
        figures=draw,
        metrics=METRICS,
        published=(
            Published("both_distance_to_target", 0.0, source="Gierlich et al., Fig. 2d"),
            Published("one_distance_to_target", 0.0, source="Gierlich et al., Fig. 2d"),
        ),
    ),
)
