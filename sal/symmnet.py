"""Spiking twins of deep networks, in which backward weights learn (Gierlich et al., sections 2.4.3, 4.5)."""

import abc
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

from sal.connectivity import Layered
from sal.feedback import Connection, Fixed, dense_layers, replace_layers
from sal.kernels import Exponential
from sal.network import Network, State, simulate
from sal.pairing import Swept
from sal.rules import align
from sal.spikes import Raster
from sal.stdp import STDP

Chain = Sequence[Float[Array, "_neurons _sources"]]
"""Weights of successive dense layers, from the bottom; each has as many sources as the one before has neurons."""

CHUNK = 100
"""Most steps whose spikes are in memory at a time."""


class AbstractTwin(eqx.Module):
    """A spiking network with the weights of a chain of dense layers, which finds backward weights for them."""

    @abc.abstractmethod
    def learn(
        self, forward: Chain, biases: Sequence[Float[Array, " _neurons"]], backward: Chain, key: PRNGKeyArray
    ) -> list[Float[Array, "_neurons _sources"]]:
        """New backward weights B, in the shapes of the forward ones; `backward` are those so far."""


def symmetrize(
    model: PyTree, twin: AbstractTwin, *, key: PRNGKeyArray, where: Callable[[Any], Sequence[Any]] = dense_layers
) -> PyTree:
    """`model` with the backward weights that a spiking twin of its dense layers has learned: SymmNet.

    Weights and biases are copied into the twin, only backward weights learn there, and they are copied back.

    - `where`: lists the layers, from the bottom, each a `Connection` whose transport is `Fixed`.

    Raises `ValueError` if the layers are others, or do not follow each other.
    """
    chosen = where(model)
    for layer in chosen:
        if not isinstance(layer, Connection) or not isinstance(layer.transport, Fixed) or layer.weight.ndim != 2:
            raise ValueError(
                "where(model) must list dense layers with the transport Fixed, which holds what the twin learns, "
                f"got {layer}; use with_feedback(model, Fixed, key=key, where=where)"
            )
    forward = [layer.weight for layer in chosen]
    for lower, upper in itertools.pairwise(forward):
        if upper.shape[1] != lower.shape[0]:
            raise ValueError(f"where(model) lists weights of shape {upper.shape} after weights of shape {lower.shape}")
    zeros = [jnp.zeros_like(weight[:, 0]) for weight in forward]
    biases = [zero if layer.layer.bias is None else layer.layer.bias for layer, zero in zip(chosen, zeros, strict=True)]
    learned = twin.learn(forward, biases, [layer.backward for layer in chosen], key)
    new = [Connection(layer.layer, Fixed(weights)) for layer, weights in zip(chosen, learned, strict=True)]
    return replace_layers(model, chosen, new)


def check_counts(where: str, **values: int) -> None:
    """Refuses numbers below one."""
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{where}: {name} must be at least 1, got {value}")


class SALNet(AbstractTwin):
    """Noise makes the neurons of the twin fire, forward and backward weights correlate them, and SAL aligns B with W.

        B <- B + eta dt / (2 tau_ref) <sum_anticausal f - sum_causal f>,    f(s) = exp(-s / tau_ref)

    after each of `updates` episodes, averaged over `replicas` networks side by side, over all pairs of spikes. There
    is no input: the biases of the bottom layer are drawn from U(-s, s), s = 1 / sqrt(neurons). (Table 3; the rate eta
    is in units of its authors' code, in which the sum over pairs is divided by the length 2 tau_ref / dt of a buffer.)
    """

    learning_rate: float | Float[Array, ""] = 0.04
    """eta."""
    updates: int = 5
    replicas: int = 32
    duration: float = 2000.0
    """Of an episode, in the unit of time of `tau_ref` and `dt` (here ms)."""
    tau_ref: float = 10.0
    """The refractory period, the length of the rectangular PSP, and the time constant of the STDP window."""
    dt: float = 1.0

    def __check_init__(self):
        check_counts("SALNet", updates=self.updates, replicas=self.replicas)

    def learn(
        self, forward: Chain, biases: Sequence[Array], backward: Chain, key: PRNGKeyArray
    ) -> list[Float[Array, "_neurons _sources"]]:
        bias_key, key = jax.random.split(key)
        bottom = forward[0].shape[1]
        first = jax.random.uniform(bias_key, (bottom,), forward[0].dtype, -1, 1) / math.sqrt(bottom)
        bias = jnp.concatenate([first, *biases])
        keys = jax.random.split(key, self.replicas)
        rule, chunks = self._rule(), self._chunks()

        def episode(carry, _):
            backward, states, rule_state = carry
            connectivity = Layered(forward, backward)
            network = Network(connectivity, bias, self.tau_ref)

            def chunk(carry, _):
                increments, states, rule_state = carry
                spikes, states = self._run(network, states, keys)
                layers = [Raster(x, self.dt) for x in connectivity.split(spikes)]
                increments, rule_state = rule.update(increments, rule_state, pre=layers[1:], post=layers[:-1])
                return (increments, states, rule_state), None

            zero = [jnp.zeros_like(weights) for weights in backward]
            (increments, states, rule_state), _ = lax.scan(chunk, (zero, states, rule_state), length=chunks)
            return (optax.apply_updates(backward, increments), states, rule_state), None

        start = [weights.T for weights in backward]
        network = Network(Layered(forward, start), bias, self.tau_ref)
        silent = jax.tree.map(lambda x: jnp.broadcast_to(x, (self.replicas, *x.shape)), network.init())
        # The way from silence to equilibrium is not reversible in time and would shift the weights.
        _, states = self._run(network, silent, keys)
        (learned, _, _), _ = lax.scan(episode, (start, states, rule.init(start)), length=self.updates)
        return [jnp.transpose(weights) for weights in jax.tree.leaves(learned)]

    def _rule(self) -> optax.GradientTransformationExtraArgs:
        window = Exponential(self.tau_ref)
        # A backward weight's presynaptic neuron lies in the upper layer, which is swept after the lower one.
        stdp = STDP(window, window, self.tau_ref, coincidence=Swept(False))
        return align(self.learning_rate * self.dt / (2 * self.tau_ref), stdp, replicas=(self.replicas,))

    def _chunks(self) -> int:
        steps = round(self.duration / self.dt)
        return steps // math.gcd(steps, CHUNK)

    def _run(
        self, network: Network, states: State, keys: Key[Array, " replicas"]
    ) -> tuple[Float[Array, "time replicas neurons"], State]:
        chunk = self.duration / self._chunks()

        def one(state: State, key: PRNGKeyArray) -> tuple[Array, State]:
            solution = simulate(network, chunk, dt=self.dt, key=key, state=state, throw=False)
            return solution.spikes.spikes, solution.state

        return jax.vmap(one, out_axes=(1, 0))(states, keys)
