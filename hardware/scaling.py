"""How much a weight does on a device: measured, and compared with the model."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import eventprop as ep
from eventprop.failures import error_if
from eventprop.parameters import AnyScalar
from hardware.device import AbstractDevice
from hardware.experiment import Experiment, run
from hardware.ideal import Ideal, ideal_solver
from hardware.mixed import model_side
from hardware.placement import Placement
from hardware.weights import each_projection

BEFORE, AFTER = 10.0, 40.0
"""µs of rest before the event, and of potential after it."""


def measure_scaling(
    experiment: Experiment,
    network: ep.AbstractNetwork,
    device: AbstractDevice,
    key: PRNGKeyArray,
    weight: AnyScalar = 32.0,
    trials: int = 8,
) -> tuple[Float[Array, ""], ...]:
    """The `weight_scale` of each projection, LSB per unit of weight, with which the device does what the model does.

    One source after the other sends an event to all neurons of a projection, over synapses of `weight` LSB. What the
    CADC sees of it, trace_scale (c(t) - c_rest), is fitted by psp(t), the derivative of the model's potential in its
    weight where that is 0,

        1 / weight_scale = sum psp (seen / weight) / sum psp^2      (over samples, neurons and trials),

    c_rest being each neuron's mean before the event. It takes from the experiment its trace_scale, not its
    weight_scale, so that the two come one after the other:

        experiment = dataclasses.replace(experiment, weight_scale=measure_scaling(experiment, network, device, key))

    Of the device nothing else is asked than runs of single projections, as if each came from outside; `Ideal` has any
    scale, and tells its own. Excitation only, since inhibition fails towards the lower rail. An error, when it runs, if
    a neuron spikes: choose a smaller weight. Raises ValueError for a weight that the synapses do not have.
    """
    if isinstance(device, Ideal):
        return tuple(jnp.asarray(scale) for scale in each_projection(device.weight_scale, len(network.projections)))
    most = device.limits.largest_weight * min(experiment.placement.repetitions)
    if not (1 <= float(weight) <= most and float(weight).is_integer()):
        raise ValueError(
            f"weight must be a whole number from 1 to {most}, LSB that all synapses have, but is {weight}."
        )
    keys = jax.random.split(key, len(network.projections))
    scales = []
    for number, p in enumerate(network.projections):
        placed = experiment.placement
        placement = Placement((placed.circuits[p.target],), (placed.routes[number],))
        alone = dataclasses.replace(experiment, placement=placement, weight_scale=1.0)
        synapses = ep.Dense(jnp.full((p.connection.neurons, p.connection.sources), float(weight)))
        part = ep.Network([network.neurons[p.target]], [(None, 0, synapses)])
        scales.append(_scale(alone, part, device, keys[number], weight, trials))
    return tuple(scales)


def _scale(experiment, part, device, key, weight, trials) -> Float[Array, ""]:
    index = jnp.asarray(np.arange(trials) % part.inputs, jnp.int32)[:, None]
    spikes = ep.Spikes(jnp.full(index.shape, BEFORE), index)
    found = run(experiment, part, device, spikes, BEFORE + AFTER, key)
    (seen,), times = found.voltage, found.cadc_times
    assert seen is not None
    rest = jnp.mean(seen, axis=1, keepdims=True, where=(times < BEFORE)[None, :, None])
    synapses = part.projections[0].connection.weight
    event, saveat = jax.tree.map(lambda x: x[0], spikes), diffrax.SaveAt(ts=jnp.maximum(times, 0))

    def model(weight):
        network = ep.Network([model_side(part.neurons[0])], [(None, 0, ep.Dense(jnp.full_like(synapses, weight)))])
        ys = ep.simulate(network, event, BEFORE + AFTER, solver=ideal_solver(network, 1), saveat=saveat).ys
        assert ys is not None
        return ys[0]

    _, psp = jax.jvp(model, (jnp.zeros((), seen.dtype),), (jnp.ones((), seen.dtype),))
    rate = jnp.sum(psp[None] * (seen - rest)) / (weight * trials * jnp.sum(psp**2))
    if found.spikes[0] is not None:
        message = f"a neuron has spiked while its synapses were measured with weight = {weight}: take a smaller one."
        rate = error_if(rate, found.spikes[0].times < jnp.inf, message)
    return 1 / rate
