"""Training with a chip in the loop: values from the device, derivatives from the model."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import eventprop as ep
from eventprop.parameters import check_type, constant
from hardware.device import AbstractDevice, Record
from hardware.experiment import Experiment, Recording, check_device, run, trial_time
from hardware.gradients import AbstractGradient, Recorded, Replay, with_derivatives
from hardware.mixed import model_side


def in_the_loop(
    experiment: Experiment,
    device: AbstractDevice,
    gradient: AbstractGradient = Replay(),
    record: Record = Record(),
    throw: bool = True,
) -> Callable[[ep.AbstractNetwork, ep.Spikes, Any, Any], Recording]:
    """A function of (network, spikes, t1, key) that runs the network on the device and can be differentiated.

        loop = in_the_loop(experiment, device, SuperSpike(50.0))
        loss = lambda network: jnp.mean(...loop(network, spikes, t1, key).voltage[-1]...)

    Its value is what `run` returns, a `Recording`. Derivatives with respect to the network (and input times) are those
    of the ideal model at what was recorded, as `gradient` takes them: `Replay()` at the spikes (EventProp),
    `FirstSpike()` at the first ones, `SuperSpike(alpha)` at spikes and samples. Times of spikes, `voltage`, `cadc` and
    `raster` have them; `madc` does not. Samples at an end of the CADC's range have the model's, too. Nothing passes
    through the device, which may be a real chip.

    spikes: one trial, or a batch along leading axes. record, throw: as for `run`. The two controls beside it: `run` on
    an `Emulated` chip differentiates straight through the chip model; `Ideal()` in its place trains without a chip.
    """
    check_type("experiment", experiment, Experiment)
    check_device(device)
    check_type("gradient", gradient, AbstractGradient, "Replay(), FirstSpike() or SuperSpike(alpha) of hardware")

    def loop(network: ep.AbstractNetwork, spikes: ep.Spikes, t1: Any, key: Any) -> Recording:
        t1 = trial_time(t1)
        setup, fixed, chip, trials = constant((experiment, network, device, spikes))
        found = constant(run(setup, fixed, chip, trials, t1, key, record, throw))
        model = model_side(network)
        times = jnp.maximum(found.cadc_times, 0)

        def follow(trial, events, voltage):
            return gradient.follow(model, trial, t1, Recorded(events, voltage, times), record.max_spikes)

        for _ in spikes.times.shape[:-1]:
            follow = jax.vmap(follow)
        followed = follow(spikes, found.spikes, found.voltage)
        scale = lax.stop_gradient(experiment.trace_scale)
        cadc = jax.tree.map(lambda c, v: with_derivatives(c, v / scale), found.cadc, followed.voltage)
        return dataclasses.replace(
            found, spikes=followed.spikes, cadc=cadc, voltage=followed.voltage, raster=followed.raster
        )

    return loop
