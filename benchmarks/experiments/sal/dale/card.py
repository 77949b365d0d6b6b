"""The card of Dale's law."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.dale.figures import draw
from benchmarks.experiments.sal.dale.model import Dale, sal_dale

CARDS = (
    Card(
        name="sal-dale",
        config=Dale,
        function=sal_dale,
        figures=draw,
        published=(
            Published("distance_from_diagonal", 0.0, source="Gierlich et al., Fig. 9c", higher_is_better=False),
            Published("rate_difference", 0.0, source="Gierlich et al., Fig. 9b: close", higher_is_better=False),
        ),
    ),
)
"""SAL aligns what acts, and keeps signs."""
