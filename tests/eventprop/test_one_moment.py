"""What arrives at one moment acts together, and then neurons fire: potentials that jump at arrivals (V += w)."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import eventprop as ep
from tests.eventprop.differences import central_differences

NEURONS, T1, SLOTS = 3, 30.0, 40
MOMENT = np.array([0, 1, 1, 2, 3, 3, 3, 4, 5, 5])
"""Which of the input's moments each event belongs to."""
INDEX = np.array([0, 1, 0, 1, 0, 1, 0, 0, 1, 0])
WEIGHTS = np.sin(1 + np.arange(NEURONS * SLOTS)).reshape(NEURONS, SLOTS)


class State(NamedTuple):
    v: Array


class Jumping(ep.AbstractNeuron):
    """tau V' = bias - V, V += charge, spike at 1."""

    tau: Array
    bias: Array
    subtracts: bool = eqx.field(static=True)

    def init(self, neurons, dtype=None):
        return State(jnp.zeros(neurons, dtype))

    def vector_field(self, t, y, args):
        return State((self.bias - y.v) / self.tau)

    @property
    def events(self):
        def jump(t, y, args):
            return State(y.v - 1 if self.subtracts else jnp.zeros_like(y.v))

        return (ep.Event(lambda t, y, args: y.v - 1, jump, True, lambda: self.tau),)

    def receive(self, y, port, charge):
        return State(y.v + charge)

    def voltage(self, y):
        return y.v

    def valid(self, y):
        return jnp.all(jnp.isfinite(y.v))


def reference(p, subtracts):
    """Spike times and V at the end: at one moment all above threshold fire, then all arrives, and so on."""
    v, spikes = np.zeros(NEURONS), [[] for _ in range(NEURONS)]
    agenda = [(p["moments"][m], p["w"][:, i]) for m, i in zip(MOMENT, INDEX, strict=True)]
    t = 0.0
    while True:
        with np.errstate(all="ignore"):
            crossing = np.where(p["bias"] > 1, t + p["tau"] * np.log((p["bias"] - v) / (p["bias"] - 1)), np.inf)
        crossing = np.where(v >= 1, t, crossing)
        now = min([crossing.min(), T1, *(time for time, _ in agenda)])
        v = p["bias"] + (v - p["bias"]) * np.exp(-(now - t) / p["tau"])
        t = now
        if t >= T1:
            return spikes, v
        fires = crossing == t
        for j in np.flatnonzero(fires):
            spikes[j].append(t)
            agenda.append((t + p["delay"], p["lateral"][:, j]))
            v[j] = max(v[j], 1.0) - 1 if subtracts else 0.0
        if not fires.any():
            v = v + sum(charge for time, charge in agenda if time == t)
            agenda = [x for x in agenda if x[0] > t]


def draw(rng, case):
    """A random network; several inputs arrive at once, and spikes that they force, or those of twins."""
    p = {
        "w": rng.normal(0.5, 0.6, (NEURONS, 2)),
        "lateral": rng.normal(0.2, 0.7, (NEURONS, NEURONS)),
        "delay": np.float64(0.0 if case == "no delay" else rng.uniform(0.5, 3.0)),
        "bias": rng.uniform(0.2, 1.3, NEURONS),
        "tau": rng.uniform(5, 20, NEURONS),
        "moments": np.sort(rng.uniform(0.5, 22.0, 6)),
    }
    if case == "twins":  # whose spikes arrive together
        for name in ("w", "bias", "tau"):
            p[name] = np.broadcast_to(p[name][:1], p[name].shape).copy()
        p["lateral"][:, 1:] = -0.6 * np.abs(p["lateral"][:, :1])
        p["bias"][:] = 0.3
        p["w"][:] = [[0.7, 0.9]]
    if case == "no delay":  # an end to what they do to each other
        p["lateral"] = np.tril(p["lateral"], -1)
    return p


def simulate(p, subtracts, solver, adjoint):
    network = ep.Network(
        [Jumping(p["tau"], p["bias"], subtracts)],
        [(None, 0, ep.Dense(p["w"])), (0, 0, ep.Dense(p["lateral"], delay=p["delay"]))],
    )
    spikes = ep.Spikes(p["moments"][MOMENT], jnp.asarray(INDEX))
    return ep.simulate(network, spikes, T1, solver=solver, adjoint=adjoint)


def value(times, v, xp=jnp):
    fired = times < np.inf
    return (WEIGHTS * fired * xp.sin(xp.where(fired, times, 0) / 5)).sum() + xp.cos(2 * v).sum()


def padded(spikes):
    return np.array([row + [np.inf] * (SLOTS - len(row)) for row in spikes])


OPTIONS = {
    "largest_step": 4.0,
    "max_steps": 512,
    "solver": diffrax.Dopri8(),
    "stepsize_controller": diffrax.PIDController(rtol=1e-11, atol=1e-11),
}


@pytest.mark.parametrize("subtracts", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_spikes_and_gradients(x64, subtracts):
    """Those of the reference, by both adjoints, and by Replay of the spikes found."""
    rng, cases = np.random.default_rng(2), ("random", "twins", "no delay")
    drawn = [draw(rng, cases[k % 3]) for k in range(6)]
    p = jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *drawn)
    hybrid = ep.Hybrid(max_spikes=SLOTS, **OPTIONS)

    def gradient(adjoint):
        def loss(p):
            found = simulate(p, subtracts, hybrid, adjoint)
            return value(found.spikes[0].times, found.state.neurons[0].v), found

        return jax.jit(jax.vmap(jax.grad(loss, has_aux=True)))(p)

    by_implicit, found = gradient(ep.Implicit())
    by_eventprop, _ = gradient(ep.EventProp(interval=4))

    @jax.jit
    @jax.vmap
    def replayed(p, trains):
        def loss(p):
            solver = ep.Replay((trains,), **OPTIONS)
            end = simulate(p, subtracts, solver, ep.EventProp())
            return value(end.spikes[0].times, end.state.neurons[0].v)

        return jax.grad(loss)(p)

    by_replay = replayed(p, found.spikes[0])
    together = 0
    for k, one in enumerate(drawn):
        spikes, v = reference(one, subtracts)
        together += sum(np.isin(row, one["moments"]).sum() for row in spikes)
        np.testing.assert_allclose(found.spikes[0].times[k], padded(spikes), rtol=0, atol=1e-8)
        np.testing.assert_allclose(found.state.neurons[0].v[k], v, rtol=0, atol=1e-8)
        flat, rebuild = jax.flatten_util.ravel_pytree(one)

        def moved(points, rebuild=rebuild):
            ends = (reference(jax.tree.map(np.asarray, rebuild(x)), subtracts) for x in points)
            return [value(padded(spikes), v, np) for spikes, v in ends]

        steps = central_differences(moved, np.asarray(flat), np.eye(flat.size), [1e-5, 1e-6])
        smooth = np.abs(steps[0] - steps[1]) < 1e-6 * (1 + np.abs(steps[0]))
        if one["delay"] == 0:  # cannot be less: differences go to one side only
            smooth &= jax.flatten_util.ravel_pytree(jax.tree.map(np.isnan, one) | {"delay": True})[0] == 0
        assert smooth.mean() > 0.9
        for name, gradients in {"Implicit": by_implicit, "EventProp": by_eventprop, "Replay": by_replay}.items():
            right = jax.flatten_util.ravel_pytree(jax.tree.map(lambda x, k=k: x[k], gradients))[0]
            np.testing.assert_allclose(right[smooth], steps[0][smooth], rtol=1e-5, atol=1e-5, err_msg=f"{name} {k}")
    assert together > 10
