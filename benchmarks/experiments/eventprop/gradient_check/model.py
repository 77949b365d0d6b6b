"""Exact gradients beside central differences for two LIF neurons in a chain (Wunderlich & Pehle 2021, Fig. 1)."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import eventprop as ep
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics

STEPS = (1e-4, 2e-5, 4e-6)
"""Steps of the central differences. Too wide a one moves a spike across an input, where the loss has a kink."""
STENCIL = ((2, -1 / 12), (1, 8 / 12), (-1, -8 / 12), (-2, 1 / 12))
"""Offsets and coefficients of the five-point central difference: error O(step^4)."""
SAMPLES = 4000
"""Points at which membrane potentials are drawn."""


@dataclasses.dataclass(frozen=True)
class GradientCheck:
    """Exact gradient beside central differences."""

    inputs: int = 100
    rate: float = 0.2
    """Of each input, in spikes per ms: 200 Hz."""
    duration: float = 40.0
    """Length of the trial in ms."""
    tau_mem: float = 20.0
    tau_syn: float = 5.0
    weight_mean: float = 0.04
    """Of the random weights of the inputs."""
    weight_std: float = 0.04
    chain_weight: float = 5.0
    """From the first neuron to the second."""
    max_spikes: int = 24
    """Bound on the spikes of a neuron."""


class Check(NamedTuple):
    """A network, its trial, and the gradient of its loss in both ways, the chain's weight last."""

    network: ep.FeedForward
    inputs: ep.Spikes
    solution: ep.Solution
    exact: Float[Array, " weights"]
    numerical: Float[Array, " weights"]


class Contributions(NamedTuple):
    """What each event adds to the gradient of the weight it crosses: -tau_syn lambda_I at its time (Eq. 2)."""

    times: Float[np.ndarray | Array, " events"]
    gradient: Float[np.ndarray | Array, " events"]


class Record(NamedTuple):
    """What the figure shows."""

    check: Check
    potentials: Any
    """Membrane potentials of the layers at `sample_times`."""
    contributions: tuple[Contributions, Contributions]
    """Those to the first neuron's weights, and to the weight between the neurons."""


def check(config: GradientCheck, key: PRNGKeyArray) -> Check:
    """Draws inputs and weights, and takes the gradient of the sum of the second neuron's spike times.

    Raises `ValueError` in single precision, where central differences are no measure of anything.
    """
    if jnp.result_type(float) != jnp.float64:
        raise InvalidInput("The gradient check needs float64: set the environment variable JAX_ENABLE_X64=1.")
    inputs_key, weights_key = jax.random.split(key)
    mean_count = config.inputs * config.rate * config.duration
    # Eight standard deviations of a Poisson count above its mean.
    poisson = ep.Poisson(config.rate, config.inputs, config.duration, int(mean_count + 8 * mean_count**0.5) + 8)
    inputs = poisson(key=inputs_key)
    draw = ep.Normal(config.weight_mean, config.weight_std)
    weights = jnp.append(draw(weights_key, (config.inputs,), float), config.chain_weight)

    def loss(weights: Array) -> tuple[Array, ep.Solution]:
        solution = simulate(config, network(config, weights), inputs)
        return sum_of_times(trains(solution)[-1]), solution

    exact, solution = jax.grad(loss, has_aux=True)(weights)
    numerical = closest(central_differences(lambda weights: loss(weights)[0], weights), exact)
    return Check(network(config, weights), inputs, solution, exact, numerical)


def network(config: GradientCheck, weights: Float[Array, " weights"]) -> ep.FeedForward:
    """The chain; the last weight is the one between the two neurons."""
    neuron = ep.LIF(config.tau_mem, config.tau_syn)
    return ep.FeedForward([(ep.Dense(weights[None, :-1]), neuron), (ep.Dense(weights[None, -1:]), neuron)])


def simulate(config: GradientCheck, network: ep.FeedForward, spikes: ep.Spikes, **options: Any) -> ep.Solution:
    """One trial."""
    return ep.simulate(network, spikes, config.duration, solver=ep.Exact(config.max_spikes), throw=False, **options)


def trains(solution: ep.Solution) -> list[ep.SpikeTrains]:
    """The spikes of the layers, all of which spike here."""
    return [layer for layer in solution.spikes if layer is not None]


def sum_of_times(trains: ep.SpikeTrains) -> Float[Array, ""]:
    """The paper's loss: the sum of all spike times."""
    return jnp.sum(jnp.where(trains.times < jnp.inf, trains.times, 0.0))


def central_differences(function: Callable[[Array], Array], x: Float[Array, " inputs"]) -> Float[Array, "steps inputs"]:
    """The gradient of a scalar function by five-point central differences, for each of the `STEPS`."""
    offsets, coefficients = jnp.array(STENCIL).T
    steps = jnp.array(STEPS)
    moves = jnp.outer(steps, offsets).ravel()
    values = jax.lax.map(lambda move: jax.vmap(function)(x[None] + move * jnp.eye(x.size)), moves)
    return jnp.einsum("k,skn->sn", coefficients, values.reshape(len(STEPS), len(STENCIL), x.size)) / steps[:, None]


def closest(candidates: Float[Array, "steps weights"], exact: Float[Array, " weights"]) -> Float[Array, " weights"]:
    """For each weight the candidate that is nearest to `exact`: no one step suits all weights."""
    best = jnp.argmin(jnp.abs(candidates - exact[None]), axis=0)
    return jnp.take_along_axis(candidates, best[None], axis=0)[0]


def sample_times(config: GradientCheck) -> Float[np.ndarray, " samples"]:
    """The moments at which membrane potentials are recorded."""
    return np.linspace(0.0, config.duration, SAMPLES)


def evaluate(config: GradientCheck, key: PRNGKeyArray, times: Float[np.ndarray | Array, " samples"]) -> Record:
    """The check, the membrane potentials at `times`, and the contributions of the events."""
    found = check(config, key)
    potentials = simulate(config, found.network, found.inputs, saveat=diffrax.SaveAt(ts=jnp.asarray(times))).ys
    return Record(found, potentials, contributions(config, found))


def contributions(config: GradientCheck, found: Check) -> tuple[Contributions, Contributions]:
    """Those of the inputs' events to the first neuron's weights, and of its spikes to the weight of the chain.

    Every event gets a source, and so a weight, of its own: the derivative with respect to that weight is the event's.
    """
    (inner, _), (chain, neuron) = found.network.layers
    events = found.inputs
    own = ep.Spikes(events.times, jnp.arange(events.times.size, dtype=jnp.int32))

    def of_inputs(charges):
        weights = jnp.append(charges, chain.weight)
        return sum_of_times(trains(simulate(config, network(config, weights), own))[-1])

    spikes, _ = trains(found.solution)[0].merge()
    apart = ep.Spikes(spikes.times, jnp.arange(spikes.times.size, dtype=jnp.int32))

    def of_spikes(charges):
        second = ep.FeedForward([(ep.Dense(charges[None]), neuron)])
        return sum_of_times(trains(simulate(config, second, apart))[-1])

    charges = inner.weight[0, events.index]
    same = jnp.broadcast_to(chain.weight[0, 0], spikes.times.shape)
    return (
        Contributions(events.times, jax.grad(of_inputs)(charges)),
        Contributions(spikes.times, jax.grad(of_spikes)(same)),
    )


def gradient_check(config: GradientCheck, key: PRNGKeyArray) -> tuple[Metrics, ep.FeedForward, ep.RESULTS, Record]:
    """How far exact and numerical gradient are apart, relative to the exact one, for the worst of the weights."""
    record = evaluate(config, key, sample_times(config))
    found = record.check
    difference = jnp.abs(found.numerical - found.exact)
    # An input without spikes has no gradient, in both ways: nothing to be relative to.
    deviation = jnp.where(difference == 0, 0.0, difference / jnp.abs(found.exact))
    first, second = (jnp.sum(layer.count()) for layer in trains(found.solution))
    metrics = {
        "max_relative_deviation": jnp.max(deviation),
        "first_neuron_spikes": first,
        "second_neuron_spikes": second,
    }
    return metrics, found.network, found.solution.result, record
