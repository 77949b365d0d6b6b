"""The training step in eventax: one diffrax solve with an event condition between any two spikes of the network."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from benchmarks.speed.contender import Contender
from benchmarks.speed.problem import T_END, TAU_MEM, TAU_SYN, THRESHOLD, Problem, first_spike_loss

DT = 0.5
"""Euler step, ms. Heun and Tsit5 fail to locate the spikes here; smaller steps cost more."""


def build(problem: Problem) -> Contender:
    """Outputs may fire again, but the simulation of a trial ends once all of them have fired."""
    network, events = network_of(problem)

    def loss(weights, times, labels):
        first_spikes = first_output_spikes(network, weights, times)
        return first_spike_loss(first_spikes, labels), jnp.isfinite(first_spikes).sum()

    return Contender(
        loss,
        network.neuron_model.weights,
        (jnp.asarray(problem.times_by_source(), float)[..., None], problem.labels),
        bound=f"{events} events, else an error",
        spikes=None,
        hidden_spikes=None,
        remark=f"float64, Euler steps of {DT:g} ms",
    )


def first_output_spikes(network: Any, weights: Array, times: Array) -> Array:
    """[trials, outputs], of the network with these weights."""
    trained = eqx.tree_at(lambda n: n.neuron_model.weights, network, weights)
    return jax.vmap(trained.ttfs)(times)


def network_of(problem: Problem) -> tuple[Any, int]:
    """The network, and its bound on events."""
    from eventax.evnn import FFEvNN  # pyright: ignore[reportMissingImports]
    from eventax.neuron_models import LIF  # pyright: ignore[reportMissingImports]

    # In float32 its solves end in an error.
    jax.config.update("jax_enable_x64", True)
    inputs, hidden = problem.hidden.shape
    neurons = hidden + problem.output.shape[1]
    weights = jnp.zeros((neurons + inputs, neurons)).at[neurons:, :hidden].set(problem.hidden.astype(float))
    weights = weights.at[:hidden, hidden:].set(problem.output.astype(float))
    events = inputs + 2 * hidden
    network = FFEvNN(
        layers=[hidden, neurons - hidden],
        in_size=inputs,
        neuron_model=LIF,
        max_solver_time=T_END,
        solver_stepsize=DT,
        max_event_steps=events,
        output_no_spike_value=jnp.inf,
        key=jax.random.key(0),
        dtype=jnp.float64,
        thresh=THRESHOLD,
        tsyn=TAU_SYN,
        tmem=TAU_MEM,
        vreset=0.0,
        init_weights=weights,
        init_bias=0.0,
    )
    return network, events
