"""White noise on membranes: the Ornstein-Uhlenbeck process, keys, and who feels none."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep

SILENT = ep.Spikes(jnp.asarray([np.inf]), jnp.asarray([0]))


def membranes(solver, dt, count=20000, key=0, sigma=0.3, ts=(30.0, 40.0)):
    """Potentials [times, neurons] of leaky integrators from rest."""
    network = ep.FeedForward([(ep.Dense(jnp.zeros((count, 1))), ep.Noise(ep.LI(20.0, 5.0), sigma))])
    saveat = diffrax.SaveAt(ts=jnp.asarray(ts))
    found = ep.simulate(network, SILENT, 40.0, solver=ep.Grid(dt, 1, solver), key=jax.random.key(key), saveat=saveat)
    return np.asarray(found.ys[0])


@pytest.mark.parametrize(
    "solver, dt",
    [(ep.ExponentialEuler(), 5.0), (diffrax.Euler(), 0.2), (diffrax.Heun(), 1.0)],
    ids=["ExponentialEuler", "Euler", "Heun"],
)
def test_ornstein_uhlenbeck(solver, dt):
    """Var V(t) = sigma^2 tau / 2 (1 - e^(-2t/tau)), Cov = Var V(s) e^(-(t - s)/tau): at any step by the exponential."""
    v = membranes(solver, dt)
    variance = 0.3**2 * 20 / 2 * (1 - np.exp(-2 * np.array([30.0, 40.0]) / 20))
    np.testing.assert_allclose(np.mean(v, axis=1), 0, atol=5 * np.sqrt(variance[1] / 20000))
    np.testing.assert_allclose(np.var(v, axis=1), variance, rtol=5 * np.sqrt(2 / 20000))
    np.testing.assert_allclose(np.mean(v[0] * v[1]), variance[0] * np.exp(-0.5), rtol=0.05)


def test_keys():
    """The same key, the same noise; neurons and steps have their own."""
    options = {"count": 2000, "ts": (0.5, 1.0)}
    first, same, other = (membranes(ep.ExponentialEuler(), 0.5, key=key, **options) for key in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    steps = (first[0], first[1] - first[0], other[0])
    correlations = np.corrcoef(np.stack([*steps, np.roll(steps[0], 1)]))
    assert np.max(np.abs(correlations - np.eye(4))) < 5 / np.sqrt(2000)


def fire(scale, count=50, **options):
    """LIF neurons with a current above their threshold."""
    neuron = ep.Noise(ep.LIF(20.0, 5.0, refractory=jnp.asarray(3.0), bias=1.5), scale)
    network = ep.FeedForward([(ep.Dense(jnp.zeros((count, 1))), neuron)])
    options = {"key": jax.random.key(0)} | options
    return ep.simulate(network, SILENT, 60.0, solver=ep.Grid(0.25, 8), **options)


def test_noise_moves_spikes_but_no_held_membrane():
    still, moved = fire(0.0), fire(0.02)
    times = np.asarray(moved.spikes[0].times)[:, :2]
    period = 3 + 20 * np.log(3)
    np.testing.assert_allclose(still.spikes[0].times[:, :2], [[period - 3, 2 * period - 3]] * 50, atol=0.1)
    assert 0.1 < np.std(times[:, 0]) < 3 and abs(np.mean(times[:, 0]) - period + 3) < 1
    # A neuron that is held stands exactly at its reset.
    ts = jnp.asarray(np.arange(0, 60.0, 0.25))
    seen = fire(0.02, saveat=diffrax.SaveAt(ts=ts))
    for neuron, spike in enumerate(np.asarray(seen.spikes[0].times)[:, 0]):
        held = (ts >= np.ceil(spike / 0.25) * 0.25) & (ts < spike + 2.7)
        np.testing.assert_allclose(seen.ys[0][np.asarray(held), neuron], 0, atol=1e-6)


def test_gradients_pass_through_noise(x64):
    """Of spike times in the scale and the bias, with the noise held fixed: central differences."""

    def loss(scale):
        times = fire(scale, count=5).spikes[0].times[:, 0]
        return jnp.sum(times)

    step = 1e-6
    differences = (loss(0.02 + step) - loss(0.02 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(loss)(0.02), differences, rtol=1e-5)


class Dendrite(ep.AbstractNeuron):
    """A membrane whose potential is computed."""

    def init(self, neurons, dtype=None):
        return ep.LI(20.0, 5.0).init(neurons, dtype)

    def vector_field(self, t, y, args):
        return y

    @property
    def events(self):
        return ()

    def receive(self, y, port, charge):
        return y

    def voltage(self, y):
        return 2 * y.v

    def valid(self, y):
        return jnp.asarray(True)


def test_bad_input_is_told():
    with pytest.raises(ValueError, match="scale must not be negative"):
        ep.Noise(ep.LI(20.0, 5.0), -0.1)
    with pytest.raises(ValueError, match="voltage of Dendrite must be an array of its state"):
        ep.Noise(Dendrite(), 0.1).diffusion(0.0, Dendrite().init(1), None)
    with pytest.raises(ValueError, match="key is missing: the neurons of layer 0, Noise, draw at random"):
        fire(0.1, key=None)
    with pytest.raises(ValueError, match="Exact has no closed form for Noise"):
        network = ep.FeedForward([(ep.Dense(jnp.zeros((1, 1))), ep.Noise(ep.LI(20.0, 5.0), 0.1))])
        ep.simulate(network, SILENT, 10.0, solver=ep.Exact(1), key=jax.random.key(0))
