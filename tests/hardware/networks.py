"""Networks, codes and chips that several tests run."""

import jax
import jax.numpy as jnp

import eventprop as ep
import hardware as hw

TRIAL = ep.Spikes.from_events([1.0, 2.0, 3.0, 4.0, 5.0], [0, 1, 2, 3, 4])


def layers(hidden=12, outputs=3, inputs=5):
    """Hidden LIF neurons and leaky integrators, with whole weights in LSB."""
    keys = jax.random.split(jax.random.key(2))
    first = ep.Dense(jnp.round(30 + 10 * jax.random.normal(keys[0], (hidden, inputs))))
    second = ep.Dense(jnp.round(15 * jax.random.normal(keys[1], (outputs, hidden))))
    return ep.FeedForward([(first, ep.LIF(10.0, 10.0)), (second, ep.LI(10.0, 10.0))])


def experiment(network, device, codes=None, repetitions=1, **options):
    """The network on this device, without a calibration."""
    codes = hw.Codes.default() if codes is None else codes
    placement = hw.place(network, input_repetitions=repetitions)
    return hw.Experiment(placement, hw.Calibration.from_codes(codes, device), **options)
