"""Experiments of the package hardware, as they are listed before any is imported."""

from benchmarks.registry import Listed

LISTED = (Listed("hardware-calibration", "Circuits before and after calibration.", f"{__name__}.calibration.card"),)
