"""Targets of circuits that shall be a model's adaptive and exponential neurons: the one conversion from its units."""

from typing import Any

import jax.numpy as jnp

from eventprop import ALIF, EIF, AbstractNetwork, AdaptiveCurrent, AdEx, ResetToValue
from eventprop.neurons.noise import without_noise
from eventprop.neurons.refractory import has_end
from eventprop.parameters import check_not_negative, check_positive
from hardware.chip import TAU_RESET
from hardware.mixed import hardware_side


def adex_targets(
    network: AbstractNetwork,
    trace_scale: float,
    trace_offset: float,
    refractory_time: float = 2.0,
    holdoff_time: float = 0.0,
) -> dict[str, Any]:
    """Targets of a network's `EIF`, `AdEx` and `ALIF` (with an `AdaptiveCurrent`) populations, from the model's units.

        Targets.of(network, placement, **adex_targets(network, trace_scale=0.5, trace_offset=220.0))

    A potential V of the model becomes trace_offset + V / trace_scale LSB, as in `Experiment`; its time is in µs (1 ms
    of biology is 1 µs of a chip that is 1000 times faster), its currents follow from both:

        tau_mem = C / g, adaptation_a = a / C, adaptation_b = b / C / trace_scale, offset = bias / C / trace_scale.

    The chip's clamp takes the membrane from the peak P to V_r in the refractory time T less the hold-off, so that the
    reset must be

        (V_r - q P) / (1 - q),    q = exp(-(T - holdoff_time) / 0.5 µs).

    T is the model's, or `refractory_time` for neurons without: the shorter the clamp is, the more depends on the
    circuits' 0.5 µs, which nothing calibrates. Populations of other neurons have None, what `Targets.of` takes for
    them.

    Raises ValueError for a trace_scale or a clamp that is not positive, a negative hold-off, and for neurons whose
    threshold is reset by subtraction.
    """
    check_positive("trace_scale", trace_scale, "it is the model's potential per LSB")
    check_positive("refractory_time", refractory_time, "the clamp needs time")
    check_not_negative("holdoff_time", holdoff_time)
    neurons = [hardware_side(without_noise(neuron)) for neuron in network.neurons]
    made = [_targets(neuron, trace_scale, trace_offset, refractory_time, holdoff_time) for neuron in neurons]
    names = sorted({name for each in made for name in each})
    return {name: tuple(each.get(name) for each in made) for name in names}


def _targets(neuron: Any, scale: float, zero: float, refractory_time: float, holdoff: float) -> dict[str, Any]:
    """Of one population."""
    own = getattr(neuron, "refractory", None)
    silent: Any = own if has_end(own) else refractory_time

    def potential(v):
        return zero + v / scale

    def levels(leak, peak, reset):
        check_positive("refractory_time - holdoff_time", silent, "the clamp needs time", minus=holdoff)
        left = jnp.exp(-(silent - holdoff) / TAU_RESET)
        low, high = potential(reset), potential(peak)
        held = {"reset": (low - left * high) / (1 - left), "refractory_time": silent, "holdoff_time": holdoff}
        return held | {"leak": potential(leak), "threshold": high}

    if isinstance(neuron, AdEx):
        per = 1 / (neuron.C * scale)
        upstroke = {"onset": potential(neuron.V_T), "sharpness": neuron.D / scale}
        adaptation = {
            "adaptation_a": neuron.a / neuron.C,
            "adaptation_b": neuron.b * per,
            "tau_adaptation": neuron.tau_w,
        }
        rest = {"tau_mem": neuron.C / neuron.g, "offset": neuron.bias * per}
        return levels(neuron.E, neuron.peak, neuron.V_r) | upstroke | adaptation | rest
    if isinstance(neuron, EIF):
        upstroke = {"onset": potential(neuron.onset), "sharpness": neuron.sharpness / scale}
        return levels(neuron.rest, neuron.peak, neuron.reset) | upstroke | _leaky(neuron, scale)
    if isinstance(neuron, ALIF) and isinstance(neuron.adaptation, AdaptiveCurrent):
        if not isinstance(neuron.reset, ResetToValue):
            raise ValueError("the chip resets to a value: give ALIF the reset ResetToValue(...), not by subtraction.")
        increment = neuron.adaptation.beta / neuron.tau_mem / scale
        adaptation = {"adaptation_a": 0.0, "adaptation_b": increment, "tau_adaptation": neuron.adaptation.tau}
        return levels(0.0, neuron.threshold, neuron.reset.value) | adaptation | _leaky(neuron, scale)
    return {}


def _leaky(neuron: Any, scale: float) -> dict[str, Any]:
    return {"tau_mem": neuron.tau_mem, "offset": neuron.bias / neuron.tau_mem / scale}
