"""Free states at any moment: by sums, by a scan, by groups of events; what a gradient costs; a time axis per neuron."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import eventprop as ep
from eventprop.closed_form import Membrane
from eventprop.solvers import free
from eventprop.solvers.trial import LayerTrial

NEURONS, END = 3, 30.0
TAUS = np.array([20.0, 7.0, 5.0]), np.array([5.0, 7.0, 20.0])


def layer(rng, events: int) -> LayerTrial:
    """A layer whose last two events do not count, with coincident events and an event at 0."""
    times = np.sort(rng.uniform(0, END, events))
    times[0], times[5], times[-2:] = 0.0, times[4], END
    present = np.ones(events)
    present[-2:] = 0.0
    arrays = {"v": rng.normal(size=NEURONS), "i": rng.normal(size=NEURONS), "hold": np.zeros(NEURONS)}
    arrays |= {
        "charge": rng.normal(size=(events, NEURONS)),
        "times": times[:, None],
        "present": present[:, None],
        "end": np.asarray(END),
    }
    return LayerTrial(
        membrane=Membrane(*map(jnp.asarray, TAUS)),
        threshold=jnp.asarray(1.0),
        reset=jnp.asarray(0.0),
        refractory=None,
        due=None,
        index=jnp.asarray(rng.permutation(events)),
        once=False,
        **{name: jnp.asarray(x) for name, x in arrays.items()},
    )


def moments_of(trial, rng):
    """0, the end, every event, and anywhere."""
    times = np.concatenate([[0.0, END], trial.times[:, 0], rng.uniform(0, END, 13)])
    return jnp.broadcast_to(jnp.asarray(times)[:, None], (times.size, NEURONS))


def by_definition(trial, at):
    """v(t) and i(t) as sums of the postsynaptic potentials in the textbook's form, or (t/tau) exp(-t/tau)."""
    v, i, number = (np.zeros(at.shape) for _ in range(3))
    for n, (tau_mem, tau_syn) in enumerate(zip(*TAUS, strict=True)):
        for row, t in enumerate(np.asarray(at)[:, n]):
            arrived = [(0.0, float(trial.i[n]))]
            for k, time in enumerate(np.asarray(trial.times[:, 0])):
                if time < t:
                    arrived.append((time, float(trial.charge[trial.index[k], n] * trial.present[k, 0])))
            number[row, n] = len(arrived) - 1
            since, charge = t - np.array([a for a, _ in arrived]), np.array([c for _, c in arrived])
            if tau_mem == tau_syn:
                response = since / tau_mem * np.exp(-since / tau_mem)
            else:
                response = (np.exp(-since / tau_mem) - np.exp(-since / tau_syn)) * tau_syn / (tau_mem - tau_syn)
            v[row, n] = float(trial.v[n]) * np.exp(-t / tau_mem) + np.sum(charge * response)
            i[row, n] = np.sum(charge * np.exp(-since / tau_syn))
    return v, i, number


@pytest.mark.parametrize("way", ["scan", "groups", "sums", "listed"])
def test_free_states_are_sums_of_postsynaptic_potentials(x64, rng, monkeypatch, way):
    trial = layer(rng, 8 if way == "listed" else 37)
    at = moments_of(trial, rng)
    expected = by_definition(trial, at)
    # What decides about the way is the size alone.
    monkeypatch.setattr(free, "_FEW", {"sums": 1000, "listed": 8}.get(way, 0))
    monkeypatch.setattr(free, "_TOGETHER", 0 if way == "groups" else 2**17)
    if way == "groups":
        trial, at = dataclasses.replace(trial, charge=trial.charge[:5], index=trial.index % 5), at[:7]
        expected = by_definition(trial, at)
        assert free._group(trial, 38, 7) == 7
    moments = free.Moments(at)
    if way == "listed":
        neuron = jnp.tile(jnp.arange(NEURONS), at.shape[0])
        moments = free.Moments(at.reshape(1, -1), neuron)
    found = free.free_before(trial, moments)
    for actual, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.reshape(actual, value.shape), value, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("few", [0, 1000])
def test_a_time_axis_of_each_neuron(x64, rng, monkeypatch, few):
    """Equal columns are one column; other columns are one layer for each neuron."""
    monkeypatch.setattr(free, "_FEW", few)
    trial = layer(rng, 21)
    at = moments_of(trial, rng)
    same = dataclasses.replace(
        trial,
        times=jnp.broadcast_to(trial.times, (21, NEURONS)),
        present=jnp.broadcast_to(trial.present, (21, NEURONS)),
    )
    expected = free.free_before(trial, free.Moments(at))
    for actual, value in zip(free.free_before(same, free.Moments(at)), expected, strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-12, atol=1e-13)
    shifts = jnp.array([1.0, 0.9, 0.8])
    other = dataclasses.replace(same, times=same.times * shifts[None])
    found = free.free_before(other, free.Moments(at))
    for n in range(NEURONS):
        alone = dataclasses.replace(trial, times=trial.times * shifts[n])
        for actual, value in zip(found, free.free_before(alone, free.Moments(at)), strict=True):
            np.testing.assert_allclose(actual[:, n], value[:, n], rtol=1e-12, atol=1e-13)


def sizes(jaxpr):
    """The numbers of elements of all arrays that a program makes, loops and calls included."""
    for equation in jaxpr.eqns:
        yield from (v.aval.size for v in equation.outvars if hasattr(v.aval, "size"))
        for inner in jaxprs_in_params(equation.params):
            yield from sizes(inner)


def test_no_array_has_a_number_for_each_input_and_spike():
    """Value and gradient by weights, time constants and input times are linear in inputs and spikes."""
    events, slots, neurons = 512, 96, 2

    def loss(weight, taus, times):
        network = ep.FeedForward([(ep.Dense(weight), ep.LIF(*taus))])
        solution = ep.simulate(
            network, ep.Spikes(times, jnp.arange(events)), 100.0, solver=ep.Exact(slots), throw=False
        )
        return jnp.sum(jnp.where(jnp.isfinite(solution.spikes[0].times), solution.spikes[0].times, 0))

    arguments = jnp.ones((neurons, events)), jnp.array([20.0, 5.0]), jnp.linspace(0.0, 90.0, events)
    program = jax.make_jaxpr(jax.value_and_grad(loss, (0, 1, 2)))(*arguments)
    assert max(sizes(program.jaxpr)) <= 4 * (events + slots) * neurons < events * slots
