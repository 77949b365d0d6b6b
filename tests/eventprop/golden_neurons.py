"""Single neurons and their right spike times, from high-precision integration elsewhere."""

from typing import Any, NamedTuple

import numpy as np

import eventprop as ep

TIMES = np.sort([2 + (9 * k) % 50 + 0.37 * k for k in range(8)])
"""When the input spikes of the rows that have a charge."""


class Golden(NamedTuple):
    """A neuron from its start to t1, charged at TIMES: its first spikes, how many there are, the state at the end."""

    neuron: Any
    t1: float
    spikes: tuple[float, ...]
    count: int
    charge: float = 0.0
    v: float | None = None
    adaptation: float | None = None


SYNAPSES = ep.CurrentSynapses(5.0)


def _izhikevich(c: float, d: float) -> ep.Izhikevich:
    return ep.Izhikevich(SYNAPSES, 0.02, 0.2, c, d, bias=10.0)


def _eif(sharpness: float, spike: float) -> Golden:
    return Golden(ep.EIF(20.0, SYNAPSES, sharpness, 1 + 10 * sharpness, bias=1.5), spike + 1, (spike,), 1)


def adex(C, g, E, a, tau_w, b, V_r, bias) -> ep.AdEx:
    """In the units and with the fixed V_T and D of the table."""
    return ep.AdEx(SYNAPSES, C, g, E, -50.0, 2.0, a, tau_w, b, V_r, bias=bias)


ADAPTING = adex(200.0, 12.0, -70.0, 2.0, 300.0, 60.0, -58.0, 500.0)

GOLDEN = {
    "ALIF": Golden(
        ep.ALIF(20.0, SYNAPSES, ep.AdaptiveThreshold(0.4, 100.0), bias=1.3),
        200.0,
        (14.587941008, 39.677663908, 128.295065359),
        3,
        0.8,
        1.263951229,
        0.846027984,
    ),
    "QIF": Golden(ep.QIF(10.0, SYNAPSES), 100.0, (16.149295307, 30.805353655, 53.311584301), 3, 2.5, 0.003810449),
    "QIF, one period": Golden(
        ep.QIF(10.0, SYNAPSES, 100.0, -100.0, 0.0, 0.0, bias=0.25), 100.0, (31.31592736921877, 93.94778210765631), 2
    ),
    "EIF .2": _eif(0.2, 32.122559),
    "EIF .05": _eif(0.05, 27.003178),
    "EIF .01": _eif(0.01, 23.580698),
    "EIF .001": _eif(0.001, 22.221118),
    "Izhikevich RS": Golden(
        _izhikevich(-65.0, 8.0),
        200.0,
        (3.127055304, 26.226024634, 71.057097328, 115.869510996, 160.681924664),
        5,
    ),
    "Izhikevich CH": Golden(
        _izhikevich(-50.0, 2.0),
        200.0,
        (3.127055304, 4.515874854, 6.03637314, 7.72912517, 9.663338998, 11.980433739, 15.118205258, 61.689992472),
        22,
    ),
    "AdEx tonic": Golden(
        adex(200.0, 10.0, -70.0, 2.0, 30.0, 0.0, -58.0, 500.0), 500.0, (14.222933896, 23.15182564, 32.242119341), 51
    ),
    "AdEx adapting": Golden(ADAPTING, 500.0, (14.904043648, 26.171812205, 40.54791757), 10),
    "AdEx initial burst": Golden(
        adex(130.0, 18.0, -58.0, 4.0, 150.0, 120.0, -50.0, 400.0),
        500.0,
        (5.463508741, 8.88260044, 16.20158111, 70.94851318),
        10,
    ),
    "AdEx delayed accelerating": Golden(
        adex(200.0, 12.0, -70.0, -10.0, 300.0, 0.0, -58.0, 300.0), 500.0, (33.573738825,), 36
    ),
    "AdEx irregular": Golden(
        adex(100.0, 12.0, -60.0, -11.0, 130.0, 30.0, -48.0, 160.0),
        500.0,
        (15.644587817, 19.08972178, 23.557557004, 30.265491176, 48.976137749),
        28,
    ),
    "AdEx, input": Golden(
        adex(200.0, 12.0, -70.0, 2.0, 300.0, 60.0, -58.0, 300.0),
        200.0,
        (12.611794538, 19.64577805, 26.572491745, 42.77815677),
        4,
        400.0,
        -57.743685154,
        146.114161687,
    ),
}
"""From rest, charges at receptor 0."""

GRADIENTS = {
    "ALIF": (
        200.0,
        {
            "tau_mem": 3.723405449,
            "synapses.tau_syn[0]": -6.363940966,
            "adaptation.tau": 0.9230988092,
            "adaptation.beta": 254.5922511,
            "bias": -357.1750678,
            "charge": -43.47649395,
        },
    ),
    "QIF": (
        100.0,
        {
            "tau_mem": 11.73835214,
            "synapses.tau_syn[0]": -14.13032639,
            "peak": 0.8056508732,
            "reset": -11.11685418,
            "charge": -34.1879866,
        },
    ),
    "EIF .2": (33.0, {"bias": -33.55666}),
    "EIF .05": (28.0, {"bias": -33.01715}),
    "EIF .01": (24.0, {"bias": -29.12831}),
    "EIF .001": (23.0, {"bias": -27.08773}),
    "Izhikevich RS": (
        200.0,
        {"a": -13888.68472, "b": -2331.108128, "c": 0.389673885, "d": 41.47896057, "bias": -57.98123656},
    ),
    "AdEx adapting": (
        300.0,
        {
            "C": 2.75383537,
            "g": 92.82036377,
            "E": -73.71985274,
            "V_T": 94.7965777,
            "D": 25.6768262,
            "a": 34.0764921,
            "tau_w": 1.009257749,
            "b": 19.65598481,
            "V_r": -17.87673193,
            "bias": -5.824247024,
        },
    ),
}
"""Until when, and d(sum of all spike times until then) by each parameter, at a fixed start.

(By default V starts at E, and u at -65 b, and derivatives know it: pass the start as a `state` to hold it fixed.)
"""
