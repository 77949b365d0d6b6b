"""The card of calibration."""

from benchmarks.card import Card, Published
from benchmarks.experiments.hardware.calibration.figures import draw
from benchmarks.experiments.hardware.calibration.model import CalibrationOfAChip, hardware_calibration
from benchmarks.metric import Metric

METRICS = (
    Metric("*_before"),
    Metric("*_after", higher_is_better=False),
    Metric("*_ratio", higher_is_better=False),
    Metric("success", higher_is_better=True),
    Metric("in_range", higher_is_better=True),
)

ACCEPTED = {"leak": 0.3, "reset": 0.2, "threshold": 0.35, "tau_mem": 0.45, "tau_syn_exc": 0.2, "tau_syn_inh": 0.2}
"""Standard deviation after calibration over that before."""

CARDS = (
    Card(
        name="hardware-calibration",
        config=CalibrationOfAChip,
        function=hardware_calibration,
        figures=draw,
        metrics=METRICS,
        published=(
            *(Published(f"{name}_ratio", most, source="calix, accepted") for name, most in ACCEPTED.items()),
            Published("in_range", 0.9, source="calix, accepted"),
        ),
    ),
)
