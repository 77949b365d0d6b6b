"""The training step in Credax."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

import eventprop as ep
from benchmarks.speed.contender import Contender
from benchmarks.speed.problem import TAU_MEM, TAU_SYN, THRESHOLD, Problem, first_spike_loss

GENEROUS = ep.Exact(max_spikes=(16, 32))
"""Far more than what the problem's neurons fire."""


def build(problem: Problem, *, refire: bool) -> Contender:
    """`refire`: outputs fire as often as they are driven to; else once, which leaves the first-spike loss the same."""
    neuron = ep.LIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN, threshold=THRESHOLD)
    output = neuron if refire else dataclasses.replace(neuron, refractory=ep.FiresOnce())
    network = ep.FeedForward([(ep.Dense(problem.hidden.T), neuron), (ep.Dense(problem.output.T), output)])

    def run(network, spikes, solver):
        """The first output spikes, and the number of spikes of each neuron, layer by layer."""

        def trial(spikes):
            trains = [
                t for t in ep.simulate(network, spikes, jnp.inf, solver=solver, throw=False).spikes if t is not None
            ]
            return trains[-1].first(), [t.count() for t in trains]

        return jax.vmap(trial)(spikes)

    # The smallest bounds that lose nothing, as for the peers.
    _, (hidden, outputs) = eqx.filter_jit(run)(network, problem.spikes, GENEROUS)
    solver = ep.Exact((int(hidden.max()), int(outputs.max())), max_events=int(hidden.sum(axis=1).max()))

    def loss(weights, spikes, labels):
        trained = eqx.tree_at(lambda n: [connection.weight for connection, _ in n.layers], network, weights)
        first_spikes, counts = run(trained, spikes, solver)
        return first_spike_loss(first_spikes, labels), sum(jnp.sum(count) for count in counts)

    return Contender(
        loss,
        [problem.hidden.T, problem.output.T],
        (problem.spikes, problem.labels),
        bound=f"{solver.max_spikes} spikes per neuron, {solver.max_events} hidden spikes",
        spikes=int(hidden.sum() + outputs.sum()),
        hidden_spikes=float(hidden.sum(axis=1).mean()),
    )
