"""The network of `grid_worker` in Brian2, compiled code; trials are parts of one network that are not connected."""

from typing import Any

import brian2  # pyright: ignore[reportMissingImports]
import numpy as np

from benchmarks.speed.grid_worker import ADEX, BATCH, DT, NEURONS, SOURCES, STEPS, TAU_SYN, Program, problem

EQUATIONS = """
dV/dt = (g * (E - V) + g * D * exp((V - V_T) / D) - w + I + bias) / C / ms : 1
dw/dt = (a * (V - E) - w) / tau_w / ms : 1
dI/dt = -I / tau_syn / ms : 1
"""


def build(trials: int = BATCH) -> Program:
    """AdEx by Euler's method, recurrent synapses for every pair, inputs from a generator of spikes."""
    inputs, lateral, times, index = problem()
    brian2.defaultclock.dt = DT * brian2.ms
    constants = {**ADEX, "bias": 500.0, "tau_syn": TAU_SYN, "ms": brian2.ms}
    neurons = brian2.NeuronGroup(
        trials * NEURONS, EQUATIONS, method="euler", threshold="V > 0", reset="V = V_r; w += b", namespace=constants
    )
    neurons.V = ADEX["E"]
    steps = np.round(times[:trials] / DT).astype(int)
    sources = index[:trials] + SOURCES * np.arange(trials)[:, None]
    events = np.unique([steps.ravel(), sources.ravel()], axis=1)  # a source fires once a step at most there
    source = brian2.SpikeGeneratorGroup(trials * SOURCES, events[1], events[0] * DT * brian2.ms)
    monitor = brian2.SpikeMonitor(neurons)
    pathways = _synapses(source, neurons, inputs), _synapses(neurons, neurons, lateral)
    network = brian2.Network(neurons, source, monitor, *pathways)
    network.store()

    def run() -> int:
        network.restore()
        network.run(STEPS * DT * brian2.ms)
        return monitor.num_spikes

    return run, lambda spikes: spikes / (NEURONS * trials)


def _synapses(source: Any, target: Any, weights: np.ndarray) -> Any:
    """50 pA per unit of weight, between all pairs of a trial."""
    synapses = brian2.Synapses(source, target, "weight : 1", on_pre="I_post += weight")
    into, of = weights.shape
    synapses.connect(j=f"k for k in range((i // {of}) * {into}, (i // {of} + 1) * {into})")
    synapses.weight = 50 * weights[np.asarray(synapses.j) % into, np.asarray(synapses.i) % of]
    return synapses
