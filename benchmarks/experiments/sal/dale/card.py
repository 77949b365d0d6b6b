"""The card of Dale's law."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.dale.figures import draw
from benchmarks.experiments.sal.dale.model import Dale, sal_dale
from benchmarks.metric import Metric

METRICS = (
    Metric("rate_difference", higher_is_better=False),
    Metric("distance_from_diagonal", higher_is_better=False),
    Metric("heterogeneous_distance", higher_is_better=False),
    Metric("lowest_effective"),
    Metric("both_final_difference", higher_is_better=False),
    Metric("one_distance_to_target", higher_is_better=False),
)

CARDS = (
    Card(
        name="sal-dale",
        config=Dale,
        function=sal_dale,
        figures=draw,
        metrics=METRICS,
        published=(
            Published("distance_from_diagonal", 0.0, source="Gierlich et al., Fig. 9c"),
            Published("rate_difference", 0.0, source="Gierlich et al., Fig. 9b: close"),
        ),
    ),
)
"""SAL aligns what acts, and keeps signs."""
