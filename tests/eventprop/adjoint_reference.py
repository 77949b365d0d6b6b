"""The adjoint network of Wunderlich & Pehle (2022), Table 2, in NumPy: gradients of losses of spikes and potentials.

Between events, in reverse time (' = -d/dt),

    tau_mem lambda_V' = -lambda_V - dl_V/dV,    tau_syn lambda_I' = -lambda_I + lambda_V,

and at the k-th spike of the network, fired by neuron n (Eq. 30a; V'- and V'+ before and after the reset),

    lambda_V,n <- (V'+ / V'-) lambda_V,n + [sum_m w_nm (lambda_V - lambda_I)_m + dl_p/dt_k] / (tau_mem V'-).

Then dL/dw_nm = -tau_syn sum over the spikes of n of lambda_I,m (Eq. 2). The weight w_nm leads from n to m. The bracket
is the whole derivative of the loss by the time of the event, so it is also the gradient by the time of an input event.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

from tests.eventprop.reference import Neuron, Trajectory, events


@dataclass
class Gradients:
    """dL/d{weights [inputs, neurons], times of the incoming events, V(0), I(0) [neurons]} of one layer."""

    weights: np.ndarray
    times: np.ndarray
    v: np.ndarray
    i: np.ndarray


def decay(neuron: Neuron, adjoint: np.ndarray, duration: float) -> np.ndarray:
    """(lambda_V, lambda_I) a `duration` earlier."""
    rates = np.array([[-1 / neuron.tau_mem, 0.0], [1 / neuron.tau_syn, -1 / neuron.tau_syn]])
    return expm(rates * duration) @ adjoint


def backward_neuron(trajectory: Trajectory, times, spike_cost, sample_times, sample_cost):
    """(lambda_V, lambda_I) at the incoming events `times` [K, 2] and at t = 0 [2], for one neuron.

    The loss is sum_k spike_cost[k] t_k + sum_s sample_cost[s] V(sample_times[s]).
    """
    neuron = trajectory.neuron
    assert neuron.refractory == 0.0, "the paper has no refractory period"
    timeline = [(t, "input", k) for k, t in enumerate(times)]
    timeline += [(t, "spike", k) for k, t in enumerate(trajectory.spikes)]
    timeline += [(t, "sample", k) for k, t in enumerate(sample_times)]
    at_inputs = np.zeros((len(times), 2))
    adjoint, now = np.zeros(2), np.inf
    for t, kind, k in sorted(timeline, reverse=True):
        if now < np.inf:
            adjoint = decay(neuron, adjoint, now - t)
        now = t
        if kind == "input":
            at_inputs[k] = adjoint
        elif kind == "sample":
            adjoint[0] -= sample_cost[k] / neuron.tau_mem
        else:
            before = trajectory.slopes[k]
            after = before + (neuron.threshold - neuron.reset(neuron.threshold)) / neuron.tau_mem
            adjoint[0] = adjoint[0] * after / before + spike_cost[k] / (neuron.tau_mem * before)
    return at_inputs, decay(neuron, adjoint, now) if now < np.inf else adjoint


def backward_layer(
    layer: Sequence[Trajectory], times, sources, weights, spike_costs, sample_times=(), sample_costs=None
) -> Gradients:
    """Gradients of one layer, given the costs of its own spikes (one array per neuron) and samples [times, neurons]."""
    weights = np.asarray(weights, float)
    sample_costs = np.zeros((len(sample_times), len(layer))) if sample_costs is None else np.asarray(sample_costs)
    result = Gradients(np.zeros_like(weights), np.zeros(len(times)), np.zeros(len(layer)), np.zeros(len(layer)))
    for j, (trajectory, spike_cost) in enumerate(zip(layer, spike_costs, strict=True)):
        neuron = trajectory.neuron
        at_inputs, at_start = backward_neuron(trajectory, times, spike_cost, sample_times, sample_costs[:, j])
        np.add.at(result.weights[:, j], sources, -neuron.tau_syn * at_inputs[:, 1])
        result.times += weights[sources, j] * (at_inputs[:, 0] - at_inputs[:, 1])
        result.v[j], result.i[j] = -neuron.tau_mem * at_start[0], -neuron.tau_syn * at_start[1]
    return result


def backward_network(
    network, times, sources, weights, spike_costs, sample_times=(), sample_costs=None
) -> list[Gradients]:
    """Gradients of every layer of a feed-forward chain; costs are lists over layers, of lists or arrays over neurons.

    `network` is what `reference.simulate_network` returned for the events (times, sources) and the list `weights`.
    """
    incoming = [(np.asarray(times, float), np.asarray(sources, int))] + [events(layer) for layer in network[:-1]]
    sample_costs = [None] * len(network) if sample_costs is None else sample_costs
    later, results = None, []
    for depth in reversed(range(len(network))):
        layer = network[depth]
        costs = [np.array(cost[: len(own.spikes)], float) for own, cost in zip(layer, spike_costs[depth], strict=True)]
        if later is not None:
            _, fired_by = events(layer)
            for j, cost in enumerate(costs):
                cost += later.times[fired_by == j]
        later = backward_layer(layer, *incoming[depth], weights[depth], costs, sample_times, sample_costs[depth])
        results.append(later)
    return results[::-1]
