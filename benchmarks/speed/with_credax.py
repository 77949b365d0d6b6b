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
    return _contender(network, problem)


def build_recurrent(problem: Problem, *, tau_syn: float, scale: float) -> Contender:
    """Hidden neurons hear each other at once; outputs fire once. What jaxsnn can do: its `tau_syn`, scaled weights."""
    neuron = ep.LIF(tau_mem=TAU_MEM, tau_syn=tau_syn, threshold=THRESHOLD)
    once = dataclasses.replace(neuron, refractory=ep.FiresOnce())
    hidden, output, lateral = (ep.Dense(scale * x.T) for x in (problem.hidden, problem.output, problem.lateral))
    return _contender(ep.Recurrent([(hidden, neuron, lateral), (output, once)]), problem, chunk=4, max_in_flight=2)


def _contender(network: ep.AbstractNetwork, problem: Problem, **options: int) -> Contender:
    """With the smallest bounds that lose nothing, as for the peers."""

    def run(network, spikes, solver):
        """The first output spikes, and the number of spikes of each neuron, layer by layer."""

        def trial(spikes):
            trains = [
                t for t in ep.simulate(network, spikes, jnp.inf, solver=solver, throw=False).spikes if t is not None
            ]
            return trains[-1].first(), [t.count() for t in trains]

        return jax.vmap(trial)(spikes)

    _, (hidden, outputs) = eqx.filter_jit(run)(network, problem.spikes, GENEROUS)
    events = int(hidden.sum(axis=1).max())
    solver = ep.Exact((int(hidden.max()), int(outputs.max())), max_events=events, **options)

    def loss(weights, spikes, labels):
        trained = eqx.tree_at(lambda n: [p.connection.weight for p in n.projections], network, weights)
        first_spikes, counts = run(trained, spikes, solver)
        return first_spike_loss(first_spikes, labels), sum(jnp.sum(count) for count in counts)

    return Contender(
        loss,
        [p.connection.weight for p in network.projections],
        (problem.spikes, problem.labels),
        bound=f"{solver.max_spikes} spikes per neuron, {solver.max_events} hidden spikes",
        spikes=int(hidden.sum() + outputs.sum()),
        hidden_spikes=float(hidden.sum(axis=1).mean()),
    )
