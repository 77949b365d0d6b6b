"""The training step in jaxsnn: closed form, one event of a layer after the other, EventProp backwards."""

import itertools

import jax
import jax.numpy as jnp

from benchmarks.speed.contender import Contender
from benchmarks.speed.problem import T_END, TAU_MEM, THRESHOLD, Problem, first_spike_loss

# jaxsnn solves tau_mem = tau_syn and tau_mem = 2 tau_syn only.
TAU_SYN_HERE = TAU_MEM / 2
SCALE = 0.58
"""Of all weights: a longer synapse drives harder, and with this factor the hidden neurons fire as often as Credax'."""
NEVER_AGAIN = -1000.0
"""Reset potential from which a neuron does not come back, as in jaxsnn's own examples."""


def build(problem: Problem, *, refire: bool = False, recurrent: bool = False) -> Contender:
    """`refire`: outputs fire as often as they are driven to, else once. `recurrent`: hidden neurons hear each other."""
    from jaxsnn.event.loss import first_spike  # pyright: ignore[reportMissingImports]
    from jaxsnn.event.modules import LIF, Linear, Source  # pyright: ignore[reportMissingImports]
    from jaxsnn.event.modules.lif.lif import LIFParameters  # pyright: ignore[reportMissingImports]
    from jaxsnn.event.topology import Topology  # pyright: ignore[reportMissingImports]
    from jaxsnn.event.types import Spike  # pyright: ignore[reportMissingImports]

    inputs, hidden = problem.hidden.shape
    outputs = problem.output.shape[1]
    times, index = problem.spikes.times[:, :inputs], problem.spikes.index[:, :inputs]
    spikes = Spike(times, index, jnp.zeros_like(times), jnp.zeros_like(index), jnp.ones_like(index, bool))

    def network(hidden_events: int, output_events: int):
        def lif(size, events, reset):
            return LIF(size, events, LIFParameters(TAU_SYN_HERE, TAU_MEM, THRESHOLD, v_reset=reset))

        topology = Topology(t_max=T_END, backprop_method="eventprop")
        parts = {
            "input": Source(inputs),
            "hidden": lif(hidden, hidden_events, 0.0),
            "output": lif(outputs, output_events, 0.0 if refire else NEVER_AGAIN),
            "input-hidden": Linear(pre_weights=problem.hidden * SCALE),
            "hidden-output": Linear(pre_weights=problem.output * SCALE),
        }
        links = list(itertools.pairwise(["input", "input-hidden", "hidden", "hidden-output", "output"]))
        if recurrent:
            parts["lateral"] = Linear(pre_weights=problem.lateral * SCALE)
            links += [("hidden", "lateral"), ("lateral", "hidden")]
        topology.add(parts)
        topology.connect(links)
        return topology.done()

    def own_spikes(events):
        return (events.internal & (events.idx >= 0)).sum(axis=1)

    # A layer's events are its own spikes and those that it receives, in a recurrent one each of its own once more; what
    # finds no place is dropped silently.
    init, apply = network(inputs + 4 * hidden, 5 * hidden)
    weights = init(jax.random.key(0))
    events = jax.jit(apply)({"input": spikes}, weights)
    hidden_spikes, output_spikes = own_spikes(events["hidden"]), own_spikes(events["output"])
    within = (2 if recurrent else 1) * hidden_spikes
    bounds = int((inputs + within).max()), int((hidden_spikes + output_spikes).max())
    _, apply = network(*bounds)

    def loss(weights, spikes, labels):
        events = apply({"input": spikes}, weights)
        first_spikes = jax.vmap(first_spike, (0, None))(events["output"], outputs)
        found = own_spikes(events["hidden"]).sum() + own_spikes(events["output"]).sum()
        return first_spike_loss(first_spikes, labels), found

    return Contender(
        loss,
        weights,
        (spikes, problem.labels),
        bound=f"{bounds[0]} + {bounds[1]} events",
        spikes=int(hidden_spikes.sum() + output_spikes.sum()),
        hidden_spikes=float(hidden_spikes.mean()),
        remark=f"tau_syn = {TAU_SYN_HERE:g} ms, weights x {SCALE:g} (as many hidden spikes)",
    )
