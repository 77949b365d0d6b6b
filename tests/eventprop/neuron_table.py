"""All neurons, with receptors, refractory periods and resets of all kinds, and an input that makes them fire."""

from typing import NamedTuple

import eventprop as ep
from tests.eventprop.golden_neurons import TIMES, adex

T1 = 60.0


class Case(NamedTuple):
    """A neuron, and what the input spikes at TIMES deliver at its receptors in turn, up to T1."""

    neuron: ep.AbstractNeuron
    charges: tuple[float, ...]

    def arrivals(self) -> list[tuple[float, int, float]]:
        """(time, port, charge)."""
        ports = len(self.charges)
        return [(float(t), k % ports, self.charges[k % ports]) for k, t in enumerate(TIMES)]


ONE, TWO = ep.CurrentSynapses(5.0), ep.CurrentSynapses((5.0, 12.0))
THRESHOLD, CURRENT = ep.AdaptiveThreshold(0.4, 100.0), ep.AdaptiveCurrent(0.5, 30.0)

NEURONS = {
    "LI": Case(ep.LI(20.0, 5.0, 0.1), (2.5,)),
    "LIF": Case(ep.LIF(20.0, 5.0, refractory=2.0), (3.5,)),
    "DeltaLIF": Case(ep.DeltaLIF(20.0, bias=0.3), (0.6,)),
    "ALIF, threshold": Case(ep.ALIF(20.0, ONE, THRESHOLD, bias=1.3), (1.6,)),
    "ALIF, threshold, refractory, reset to a value": Case(
        ep.ALIF(20.0, TWO, THRESHOLD, 1.1, ep.ResetToValue(-0.2), 3.0, 0.8), (3.5, 2.0)
    ),
    "ALIF, current": Case(ep.ALIF(20.0, ONE, CURRENT, refractory=2.0, bias=0.8), (3.5,)),
    "ALIF, conductances": Case(
        ep.ALIF(20.0, ep.ConductanceSynapses((5.0, 9.0), (4.0, -0.5)), THRESHOLD, refractory=2.0, bias=0.3), (1.6, 0.2)
    ),
    "ALIF, fires once": Case(ep.ALIF(20.0, ONE, CURRENT, refractory=ep.FiresOnce(), bias=0.8), (3.5,)),
    "QIF": Case(ep.QIF(10.0, ONE), (2.5,)),
    "QIF, refractory": Case(ep.QIF(10.0, TWO, 10.0, -1.0, 0.1, 0.9, 4.0, 0.2), (2.5, 0.7)),
    "QIF, conductances": Case(
        ep.QIF(10.0, ep.ConductanceSynapses((5.0, 9.0), (3.0, -1.0)), refractory=1.0), (1.4, 0.1)
    ),
    "EIF": Case(ep.EIF(20.0, ONE, 0.2, 3.0, bias=0.6), (2.5,)),
    "EIF, refractory": Case(ep.EIF(20.0, TWO, 0.1, 2.0, 0.9, -0.2, 0.1, 3.0, 0.5), (2.5, 1.0)),
    "Izhikevich": Case(ep.Izhikevich(ONE, 0.02, 0.2, -65.0, 8.0, bias=3.0), (10.0,)),
    "Izhikevich, refractory": Case(ep.Izhikevich(TWO, 0.02, 0.2, -50.0, 2.0, 25.0, 2.0, 3.0), (10.0, 4.0)),
    "AdEx": Case(adex(200.0, 12.0, -70.0, 2.0, 300.0, 60.0, -58.0, 300.0), (400.0,)),
    "AdEx, conductances, refractory": Case(
        ep.AdEx(
            ep.ConductanceSynapses((5.0, 9.0), (0.0, -80.0)),
            *(200.0, 12.0, -70.0, -50.0, 2.0, 2.0, 300.0, 60.0, -58.0, -10.0, 2.0, 200.0),
        ),
        (12.0, 2.0),
    ),
    "EscapeRate": Case(ep.EscapeRate(20.0, ONE, ep.ExponentialEscape(10.0), refractory=10.0, bias=0.3), (1.5,)),
    "EscapeRate, sigmoid": Case(ep.EscapeRate(20.0, TWO, ep.SigmoidEscape(5.0, 0.5, 0.2), bias=0.3), (1.5, 0.5)),
}
