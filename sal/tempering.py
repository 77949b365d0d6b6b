"""Parallel tempering of sampling networks: copies at higher temperatures carry the cold one from mode to mode."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray, PyTree

from sal._numbers import as_arrays, as_count, as_float, as_static
from sal.network import Network
from sal.results import RESULTS
from sal.sampling import first_failure
from sal.simulation import Solution, simulate
from sal.state import Clamp, Snapshot, State


def energy(network: Network, z: Bool[Array, " neurons"] | Float[Array, " neurons"]) -> Float[Array, ""]:
    """E(z) = -z^T W z / 2 - b^T z, of which a network with symmetric weights samples exp(-E) (Eq. 29)."""
    z = jnp.asarray(z, network.bias.dtype)
    return -z @ (network.connectivity.synapses().drive(z) / 2 + network.bias)


def tempered(network: Network, beta: ArrayLike) -> Network:
    """The network at the inverse temperature beta: all weights and biases times beta, so that it samples exp(-beta E).

    Below 1 it is hot: energies matter less, and it moves from mode to mode more easily.
    """
    beta = as_float("tempered: beta", beta)
    arrays, rest = eqx.partition(network.connectivity, eqx.is_inexact_array)
    warm = eqx.combine(jax.tree.map(lambda w: w * beta.astype(w.dtype), arrays), rest)
    where = lambda n: (n.connectivity, n.bias)  # noqa: E731
    return eqx.tree_at(where, network, (warm, network.bias * beta.astype(network.bias.dtype)))


def accumulate_tempered(
    add: Callable[[PyTree, Solution], PyTree],
    start: PyTree,
    network: Network,
    duration: float,
    *,
    betas: Sequence[float] | Float[Array, " copies"],
    chunks: int,
    dt: float,
    key: PRNGKeyArray,
    states: State | None = None,
    clamp: Clamp | None = None,
    observe: Callable[[Snapshot], Any] | None = None,
    throw: bool = True,
) -> tuple[PyTree, State, RESULTS, Float[Array, " pairs"]]:
    """As `accumulate`, with copies of the network at inverse temperatures `betas` that exchange their states.

    After each of the `chunks` of `duration` neighbours i, j in the list swap states, the even and the odd pairs taking
    turns, with the probability

        min(1, exp((beta_i - beta_j) (E(z_i) - E(z_j)))),

    which leaves the distribution of every copy as it is: in equilibrium the time since the last spike of a neuron with
    z = 1 is uniform whatever the temperature (Buesing et al. 2011), so that a state of spikes may be handed on. Exact,
    as `sample` is, for `Sweep`, logistic rates, the rectangular PSP and symmetric weights. `add` sees the solutions of
    the first copy, whose beta is 1 for the distribution of the network itself.

    Returns what has been accumulated, the states of all copies, the first result that is no success, and how often
    each pair of neighbours swapped where it could.

    Raises `ValueError` for fewer than two betas, or some that are known not to be positive.
    """
    betas, chunks = as_float("accumulate_tempered: betas", betas), as_count("chunks", chunks)
    if betas.ndim != 1 or len(betas) < 2:
        raise ValueError(f"accumulate_tempered: betas must be at least two numbers, got the shape {betas.shape}")
    if not isinstance(betas, Tracer) and not np.all(np.asarray(betas) > 0):
        raise ValueError(f"accumulate_tempered: betas must be positive, got {np.asarray(betas)}")
    duration, dt = as_static("duration", duration), as_static("dt", dt)
    if states is None:
        states = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(betas), *x.shape)), network.init(dt))
    start, network, states, clamp = as_arrays((start, network, states, clamp))
    return _accumulate(add, start, network, states, clamp, key, betas, duration, chunks, dt, observe, throw)


@eqx.filter_jit
def _accumulate(add, start, network, states, clamp, key, betas, duration, chunks, dt, observe, throw):
    copies = len(betas)
    run_key, swap_key = jax.random.split(key)
    networks = jax.vmap(lambda beta: tempered(network, beta))(betas)
    keys = jax.random.split(run_key, copies)

    def run(network: Network, state: State, key: PRNGKeyArray) -> Solution:
        return simulate(network, duration, dt=dt, key=key, state=state, clamp=clamp, observe=observe, throw=throw)

    def chunk(carry, number):
        total, states, result, swapped = carry
        solutions = jax.vmap(run)(networks, states, keys)
        total = add(total, jax.tree.map(lambda x: x[0], solutions))
        result = RESULTS.where(result == RESULTS.successful, first_failure(solutions.result), result)
        z = jax.vmap(lambda state: state.refractory(network.tau_ref, dt))(solutions.state)
        energies = jax.vmap(lambda z: energy(network, z))(z)
        partner, swaps = _partners(energies, betas, number % 2, jax.random.fold_in(swap_key, number))
        states = jax.tree.map(lambda x: x[partner], solutions.state)
        return (total, states, result, swapped + swaps), None

    carry = start, states, RESULTS.successful, jnp.zeros(copies - 1)
    (total, states, result, swapped), _ = lax.scan(chunk, carry, jnp.arange(chunks))
    even = np.arange(copies - 1) % 2 == 0
    turns = np.where(even, (chunks + 1) // 2, chunks // 2)
    return total, states, result, swapped / np.maximum(turns, 1)


def _partners(energies: Array, betas: Array, odd: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
    """Whose state each copy goes on with, and which pairs of neighbours swapped."""
    copies = len(betas)
    gain = (betas[:-1] - betas[1:]) * (energies[:-1] - energies[1:])
    turn = jnp.arange(copies - 1) % 2 == odd
    swaps = turn & (jnp.log(jax.random.uniform(key, gain.shape, gain.dtype)) < gain)
    index = jnp.arange(copies)
    up, down = jnp.pad(swaps, (0, 1)), jnp.pad(swaps, (1, 0))
    return jnp.where(up, index + 1, jnp.where(down, index - 1, index)), swaps.astype(betas.dtype)
