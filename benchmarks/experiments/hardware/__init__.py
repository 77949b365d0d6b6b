"""Experiments of the package hardware, as they are listed before any is imported."""

from benchmarks.registry import Listed

LISTED = (
    Listed("hardware-calibration", "Circuits before and after calibration.", f"{__name__}.calibration.card"),
    Listed("hardware-statistics", "Responses, intervals and noise on a chip.", f"{__name__}.statistics.card"),
    Listed("hardware-yinyang", "Yin-Yang on a chip, 5-120-3, in the loop.", f"{__name__}.yinyang.card"),
    Listed(
        "hardware-yinyang-first",
        "Yin-Yang on a chip, 5-30-3, first spikes.",
        f"{__name__}.yinyang.card",
    ),
    Listed(
        "hardware-yinyang-delays",
        "Yin-Yang on a chip, 5-30-3, axonal delays.",
        f"{__name__}.yinyang.card",
    ),
    Listed("hardware-mnist", "MNIST of 16 x 16 pixels on a chip, in the loop.", f"{__name__}.mnist.card"),
)
