"""Spiking twins of deep networks, in which backward weights learn (Gierlich et al., sections 2.4.3, 4.5)."""

import abc
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray, PyTree

from sal._mesh import vary_alike
from sal._numbers import as_arrays, as_count, as_parameter, as_static
from sal.connectivity import Layered
from sal.feedback import Connection, dense_layers, replace_layers
from sal.kernels import Exponential
from sal.network import Network
from sal.pairing import Swept
from sal.rules import align
from sal.simulation import simulate
from sal.spikes import Raster
from sal.state import State, count_steps
from sal.stdp import STDP
from sal.transports import Fixed

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
        """New backward weights B, in the shapes of the forward ones; `backward` are those so far.

        They are NaN if weights or biases are not finite.
        """


def symmetrize(
    model: PyTree, twin: AbstractTwin, *, key: PRNGKeyArray, where: Callable[[Any], Sequence[Any]] = dense_layers
) -> PyTree:
    """`model` with the backward weights that a spiking twin of its dense layers has learned: SymmNet.

    Weights and biases are copied into the twin, only backward weights learn there, and they are copied back.

    - `where`: lists the layers, from the bottom, each a `Connection` whose transport is `Fixed`.

    Raises `ValueError` if there are none, if the layers are others or not in `model`, or do not follow each other, and
    if weights or biases are known not to be finite. Where they are traced, B then is NaN.
    """
    chosen = where(model)
    if not chosen:
        raise ValueError("where(model) must list at least one layer, got none: there is nothing to symmetrize")
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
    backward = [layer.backward for layer in chosen]
    for name, arrays in (("forward weights", forward), ("biases", biases), ("backward weights", backward)):
        for number, array in enumerate(arrays):
            if not isinstance(array, Tracer) and not np.all(np.isfinite(np.asarray(array))):
                raise ValueError(
                    f"symmetrize: the {name} of layer {number} must be finite: no twin can learn from them"
                )
    learned = twin.learn(forward, biases, backward, key)
    new = [Connection(layer.layer, Fixed(weight)) for layer, weight in zip(chosen, learned, strict=True)]
    return replace_layers(model, chosen, new)


def all_finite(*arrays: Any) -> Bool[Array, ""]:
    """Whether all numbers in lists of arrays are finite."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(arrays)]))


def _static(name: str, default: float) -> Any:
    return eqx.field(static=True, default=default, converter=lambda x: as_static(name, x))


def static_count(name: str, default: int) -> Any:
    """The field of a number of things."""
    return eqx.field(static=True, default=default, converter=lambda x: as_count(name, x))


class SALNet(AbstractTwin):
    """Noise makes the neurons of the twin fire, forward and backward weights correlate them, and SAL aligns B with W.

        B <- B + eta dt / (2 tau_ref) <sum_anticausal f - sum_causal f>,    f(s) = exp(-s / tau_ref)

    after each of `updates` episodes, averaged over `replicas` networks side by side, over all pairs of spikes. There
    is no input: the biases of the bottom layer are drawn from U(-s, s), s = 1 / sqrt(neurons). (Table 3; the rate eta
    is in units of its authors' code, in which the sum over pairs is divided by the length 2 tau_ref / dt of a buffer.)
    """

    learning_rate: float | Float[Array, ""] = eqx.field(
        default=0.04, converter=lambda x: as_parameter("SALNet: learning_rate", x)
    )
    """eta. (All others decide numbers of steps, and so are static.)"""
    updates: int = static_count("SALNet: updates", 5)
    replicas: int = static_count("SALNet: replicas", 32)
    duration: float = _static("SALNet: duration", 2000.0)
    """Of an episode, in the unit of time of `tau_ref` and `dt` (here ms)."""
    tau_ref: float = _static("SALNet: tau_ref", 10.0)
    """The refractory period, the length of the rectangular PSP, and the time constant of the STDP window."""
    dt: float = _static("SALNet: dt", 1.0)

    def __check_init__(self):
        for name in ("duration", "tau_ref"):
            count_steps(f"SALNet: {name}", getattr(self, name), self.dt)

    def learn(
        self, forward: Chain, biases: Sequence[Array], backward: Chain, key: PRNGKeyArray
    ) -> list[Float[Array, "_neurons _sources"]]:
        up, bias, down = as_arrays((list(forward), list(biases), list(backward)))
        return _align(as_arrays(self), up, bias, down, key)

    def _align(self, forward: Chain, biases: Sequence[Array], backward: Chain, key: PRNGKeyArray) -> list[Array]:
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
                increments, rule_state = rule.update(increments, rule_state, pre=layers[:-1], post=layers[1:])
                return (increments, states, rule_state), None

            zero = [jnp.zeros_like(weights) for weights in backward]
            (increments, states, rule_state), _ = lax.scan(chunk, (zero, states, rule_state), length=chunks)
            return (optax.apply_updates(backward, increments), states, rule_state), None

        backward = vary_alike(list(backward), self, forward, bias, key)
        network = Network(Layered(forward, backward), bias, self.tau_ref)
        silent = jax.tree.map(lambda x: jnp.broadcast_to(x, (self.replicas, *x.shape)), network.init(self.dt))
        # The way from silence to equilibrium is not reversible in time and would shift the weights.
        _, states = self._run(network, silent, keys)
        carry = vary_alike((backward, states, rule.init(backward)))
        (learned, _, _), _ = lax.scan(episode, carry, length=self.updates)
        # Neurons with a potential of NaN are silent, so that nothing would be learned in silence.
        finite = all_finite(forward, biases, backward)
        return [jnp.where(finite, weight, jnp.nan) for weight in jax.tree.leaves(learned)]

    def _rule(self) -> optax.GradientTransformationExtraArgs:
        window = Exponential(self.tau_ref)
        # A backward weight's presynaptic neuron lies in the upper layer, which is swept after the lower one.
        stdp = STDP(window, window, self.tau_ref, coincidence=Swept(False))
        rate = self.learning_rate * self.dt / (2 * self.tau_ref)
        return align(rate, stdp, replicas=(self.replicas,), dt=self.dt, transposed=True)

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


@eqx.filter_jit
def _align(twin: SALNet, forward: Chain, biases: Sequence[Array], backward: Chain, key: PRNGKeyArray) -> list[Array]:
    return twin._align(forward, biases, backward, key)
