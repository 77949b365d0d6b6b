"""The card of the PSP shapes."""

from benchmarks.card import Card, Published
from benchmarks.experiments.sal.psp_shapes.figures import draw
from benchmarks.experiments.sal.psp_shapes.model import Shapes, sal_psp_shapes
from benchmarks.metric import Metric

METRICS = (
    Metric("*_deviation", higher_is_better=False),
    Metric("*_signs_agree", higher_is_better=True),
    Metric("*_slowest_relaxation"),
)

CARDS = (
    Card(
        name="sal-psp-shapes",
        config=Shapes,
        function=sal_psp_shapes,
        figures=draw,
        metrics=METRICS,
        double=True,
        published=(
            Published("rectangular_largest_deviation", 0.0, source="Gierlich et al., Fig. 10d"),
            Published("short_largest_deviation", 0.1, source="Gierlich et al., Fig. 10d: below"),
            Published("short_signs_agree", 1.0, source="Gierlich et al., Fig. 10c"),
            Published("long_signs_agree", 1.0, source="Gierlich et al., Fig. 10c"),
        ),
    ),
)
