"""The card of the statistics of a chip."""

from benchmarks.card import Card, Published
from benchmarks.experiments.hardware.statistics.figures import draw
from benchmarks.experiments.hardware.statistics.model import StatisticsOfAChip, hardware_statistics
from benchmarks.metric import Metric

MEASURED = {
    "height_per_weight": 0.784,
    "height_spread": 0.03,
    "inhibition_most": 176.0,
    "inhibition_scale": 182.0,
    "interval": 6.02,
    "interval_variation": 0.13,
    "interval_variation_within": 0.004,
    "madc_noise": 1.65,
    "mac_gain": 0.002,
    "mac_noise": 2.0,
    "mac_pattern": 3.2,
}
"""On chips: LSB of the MADC, weights, µs, LSB of the multiplier's output."""
METRICS = tuple(Metric(name) for name in (*MEASURED, "height_linearity", "firing"))

CARDS = (
    Card(
        name="hardware-statistics",
        config=StatisticsOfAChip,
        function=hardware_statistics,
        figures=draw,
        metrics=METRICS,
        published=tuple(Published(name, value, source="measured on chips") for name, value in MEASURED.items()),
    ),
)
