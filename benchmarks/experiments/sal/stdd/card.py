"""The card of the spike-timing differences."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.stdd.figures import draw
from benchmarks.experiments.sal.stdd.model import STDD, sal_stdd
from benchmarks.metric import Metric

METRICS = (
    Metric("p_*", higher_is_better=True),
    Metric("largest_deviation_in_errors", higher_is_better=False),
)

CARDS = (
    Card(
        name="sal-stdd",
        config=STDD,
        function=sal_stdd,
        figures=draw,
        metrics=METRICS,
        double=True,
        published=(
            Published("p_smallest_of_all", 0.5, source="Gierlich et al., Fig. 13: the expectation of a p value"),
        ),
    ),
)
