"""Networks and streams that several tests use."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import gle


def network(key, sizes=(2, 5, 4, 3), *, cost=None, output=jnp.tanh, tau_m=None, tau_r=None, **options):
    """Random weights; time constants drawn from 0.5 to 2 unless they are given."""
    layers = []
    for number, (sources, neurons) in enumerate(itertools.pairwise(sizes)):
        weight_key, m_key, r_key = jax.random.split(jax.random.fold_in(key, number), 3)
        m = jax.random.uniform(m_key, (neurons,), minval=0.5, maxval=2) if tau_m is None else tau_m
        r = jax.random.uniform(r_key, (neurons,), minval=0.5, maxval=2) if tau_r is None else tau_r
        last = number == len(sizes) - 2
        connection = gle.Dense.init(sources, neurons, key=weight_key)
        layers.append(gle.Layer(connection, m, r, output if last else jnp.tanh))
    return gle.Network(layers, gle.MeanSquaredError() if cost is None else cost, **options)


def stream(rng, steps, batch, sources, outputs):
    """Smooth random inputs and targets, [time, batch, neurons]."""
    t = np.arange(steps)[:, None, None] * 0.05

    def waves(number):
        omega, phase = rng.uniform(0.5, 3, (2, batch, number))
        return np.sin(omega * t + phase)

    return jnp.asarray(waves(sources)), 0.5 * jnp.asarray(waves(outputs))


def arrays(tree):
    """The floating-point leaves."""
    return jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))


class Gain(eqx.Module):
    """tanh(gain x): an activation with a parameter."""

    gain: jax.Array

    def __call__(self, potential):
        return jnp.tanh(self.gain * potential)
