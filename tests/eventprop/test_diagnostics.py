"""The table of gradients beside differences: right ones pass, wrong ones are named, and so is what to blame."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep

SPIKES = ep.Spikes([1.0, 3.0, 6.0], [0, 1, 0])


class Broken(ep.AbstractConnection):
    """A dense connection that forgets the gradient of its weight."""

    weight: Any
    delay: Any = None
    port: int = 0

    @property
    def sources(self):
        return self.weight.shape[1]

    @property
    def neurons(self):
        return self.weight.shape[0]

    def spread(self, synapses, index):
        return jnp.take(jax.lax.stop_gradient(synapses).T, index, axis=0)

    def table(self, index):
        return jax.lax.stop_gradient(self.weight).T, index

    def project(self, spikes):
        return spikes @ jax.lax.stop_gradient(self.weight).T

    def check_shapes(self, name):
        pass


def network(second=ep.Dense):
    lif = ep.LIF(jnp.array([20.0, 18.0, 15.0]), 5.0, bias=jnp.array(0.1))
    first = ep.Dense([[6.0, 5.0], [7.0, 4.0], [0.1, 0.0]], delay=jnp.array([0.5, 1.0]))
    return ep.FeedForward([(first, lif), (second(jnp.array([[1.5, 1.2, 1.0]])), ep.LI(10.0, 5.0))])


def loss(network, spikes, solution):
    times = solution.spikes[0].times
    early = jnp.sum(jnp.where(jnp.isfinite(times), jnp.exp(-times / 20), 0))
    return early + jnp.sum(ep.voltage_maximum(network, spikes, solution, 60.0))


def check(network, **options):
    return ep.check_gradients(network, SPIKES, 60.0, loss, solver=ep.Exact(max_spikes=8, max_events=20), **options)


def test_right_gradients_pass_and_all_is_told(x64, capsys):
    report = check(network())
    text = capsys.readouterr().out
    assert text.strip() == str(report) and report.wrong == ()
    paths = [leaf.path for leaf in report.leaves]
    assert paths[0] == "network.layers[0][0].weight" and paths[-1] == "spikes.times" and len(paths) == 6
    assert all(leaf.deviation < 1e-6 and leaf.checked == min(12, np.prod(leaf.shape)) for leaf in report.leaves)
    assert report.silent == ((2,), ()) and "silent: 1 neurons of layer 0: 2" in text
    (room,) = report.buffers
    assert (room.max_spikes, room.max_events) == (8, 20) and 1 <= room.spikes <= room.events <= 8
    assert f"used {room.spikes} of max_spikes = 8" in text and "float64" not in text


def test_a_wrong_gradient_is_named(x64):
    report = check(network(Broken), show=False)
    assert report.wrong == ("network.layers[1][0].weight",)
    (leaf,) = (leaf for leaf in report.leaves if leaf.path in report.wrong)
    assert leaf.analytic == 0 and leaf.differences > 0
    np.testing.assert_allclose(leaf.deviation, 1.0, atol=1e-6)
    assert str(report).count("<- WRONG") == 1


def test_spikes_near_tangency_are_named(x64):
    """V peaks at w 0.15749 (20/5 ms) after 9.24 ms: with w a trifle above 1 / 0.15749 a spike is nearly tangential.

    There V' tau_mem = I - 1, with I = w exp(-t / 5) at the spike.
    """
    weight = 1.00001 / 0.15749013123685915
    model = ep.FeedForward([(ep.Dense(jnp.array([[weight]])), ep.LIF(20.0, 5.0))])
    spikes = ep.Spikes([2.0], [0])
    report = ep.check_gradients(
        model,
        spikes,
        60.0,
        lambda n, s, solution: solution.spikes[0].first()[0],
        solver=ep.Exact(max_spikes=2),
        show=False,
    )
    (spike,) = report.flat
    assert (spike.population, spike.neuron) == (0, 0)
    np.testing.assert_allclose(spike.time, 2 + 9.242, atol=0.1)
    np.testing.assert_allclose(spike.slope, weight * np.exp(-(spike.time - 2) / 5) - 1, rtol=1e-9)
    assert "near tangency: layer 0, neuron 0" in str(report)


def test_in_float32_it_says_so():
    report = check(network(), show=False)
    assert report.wrong == () and report.dtype == "float32" and "enable float64" in str(report)


def test_a_delay_at_zero_cannot_be_shifted(x64):
    model = ep.FeedForward([(ep.Dense(jnp.array([[9.0]]), jnp.array([0.0])), ep.LIF(20.0, 5.0))])
    report = ep.check_gradients(
        model,
        SPIKES_ONE,
        60.0,
        lambda n, s, solution: solution.spikes[0].first()[0],
        solver=ep.Exact(max_spikes=4),
        show=False,
    )
    delay = next(leaf for leaf in report.leaves if leaf.path.endswith("delay"))
    assert (delay.checked, delay.lost) == (0, 1) and report.wrong == ()


SPIKES_ONE = ep.Spikes([2.0], [0])


def test_a_loss_that_is_infinite_is_refused():
    def first(network, spikes, solution):
        return jnp.sum(solution.spikes[0].first())  # inf: the third neuron is silent

    with pytest.raises(ValueError, match=r"loss is inf.*silent neurons a finite time"):
        ep.check_gradients(network(), SPIKES, 60.0, first, solver=ep.Exact(max_spikes=8))
