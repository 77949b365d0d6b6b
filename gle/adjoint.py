"""Exact gradients of the cost over a trial, to compare the online ones with.

All of them are those of the cost-decoupled network (gamma = 0) in forward Euler steps,

    u_{t+1} = u_t + dt u'_t,   tau_m u'_t = -u_t + W r_t + b,   potential_t = u_t + tau_r u'_t,   J = dt sum_t C_t,

averaged over the batch. They need the whole past, and the future too: nothing here is local or online.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from gle.activations import pull_back
from gle.connections import over_batch
from gle.layers import Layer
from gle.network import Network
from gle.neurons import Rates
from gle.signals import Signals
from gle.streams import over_a_stream


class Trajectory(NamedTuple):
    """A trial, with a leading axis of time on every array; `u`: before each step, `last`: after the last one."""

    input: Rates
    u: tuple[Rates, ...]
    du: tuple[Rates, ...]
    potential: tuple[Rates, ...]
    rate: tuple[Rates, ...]
    last: tuple[Rates, ...]


def run(
    network: Network,
    inputs: Float[Array, "time *batch sources"],
    dt: float | Float[Array, ""],
    u: tuple[Rates, ...] | None = None,
) -> Trajectory:
    """The network without errors, from the potentials `u` (default: zero)."""
    start = network.init(inputs.shape[1:-1]).u if u is None else u

    def step(u, input):
        du, potential, rate = network.forward(u, input)
        return tuple(x + dt * dx for x, dx in zip(u, du, strict=True)), (u, du, potential, rate)

    last, steps = lax.scan(step, start, inputs)
    return Trajectory(inputs, *steps, last)


@over_a_stream
def bptt(
    network: Network,
    inputs: Float[Array, "time *batch sources"],
    targets: Float[Array, "time *batch outputs"],
    *,
    dt: float | Float[Array, ""],
    window: int | None = None,
    u: tuple[Rates, ...] | None = None,
) -> tuple[Float[Array, ""], Network]:
    """(J, dJ/dtheta) by JAX's reverse mode through time; zero for what is not plastic.

    window: truncate after so many steps, by which the time must be divisible; states are carried on, gradients not.
    u: potentials to start from (default: zero).
    """
    steps = inputs.shape[0]
    window = steps if window is None else window
    if window < 1 or steps % window:
        raise ValueError(f"window must divide the {steps} steps, but is {window}.")

    def total(network):
        def part(u, stream):
            trial = run(network, stream[0], dt, lax.stop_gradient(u))
            return trial.last, _integrated_cost(network, trial, stream[1], dt)

        parts = [x.reshape(-1, window, *x.shape[1:]) for x in (inputs, targets)]
        start = network.init(inputs.shape[1:-1]).u if u is None else u
        return jnp.sum(lax.scan(part, start, tuple(parts))[1])

    cost, gradient = eqx.filter_value_and_grad(total)(network)
    layers = [
        layer if layer.plastic else jax.tree.map(jnp.zeros_like, eqx.filter(layer, eqx.is_array))
        for layer in gradient.layers
    ]
    return cost, eqx.tree_at(lambda network: network.layers, gradient, tuple(layers))


@over_a_stream
def adjoint_method(
    network: Network,
    inputs: Float[Array, "time *batch sources"],
    targets: Float[Array, "time *batch outputs"],
    *,
    dt: float | Float[Array, ""],
    u: tuple[Rates, ...] | None = None,
) -> tuple[Float[Array, ""], Network]:
    """(J, dJ/dtheta) by the exact adjoint of the Euler steps: from the top layer down, each backwards in time.

    With a = -dC/dpotential at the top and a = phi' W^T lambda_above below,

        p_t = (1 - tau_r/tau_m) dt a_t + (1 - dt/tau_m) p_{t+1},    lambda_t = tau_r/tau_m a_t + p_{t+1}/tau_m,

    and the gradients are those of Eqs. 21-24 with lambda for e and a for e_inst. As dt goes to zero, lambda goes to the
    adjoint variables of Eq. 10. `u`: potentials to start from (default: zero).
    """
    return _gradient(network, run(network, inputs, dt, u), targets, dt, _exact_adjoint)


@over_a_stream
def algorithm2(
    network: Network,
    inputs: Float[Array, "time *batch sources"],
    targets: Float[Array, "time *batch outputs"],
    *,
    dt: float | Float[Array, ""],
    u: tuple[Rates, ...] | None = None,
) -> tuple[Float[Array, ""], Network]:
    """(J, dJ/dtheta) by the paper's Algorithm 2, equal to `adjoint_method` up to O(dt).

    As printed it omits the initial condition of Eq. 64 and has the wrong sign in its updates; both are mended here.
    """
    return _gradient(network, run(network, inputs, dt, u), targets, dt, _algorithm2_adjoint)


@over_a_stream
def adjoint_variables(
    network: Network,
    inputs: Float[Array, "time *batch sources"],
    targets: Float[Array, "time *batch outputs"],
    *,
    dt: float | Float[Array, ""],
    u: tuple[Rates, ...] | None = None,
) -> tuple[Rates, ...]:
    """lambda of each layer and step, as in `adjoint_method`; what the errors of GLE approximate."""
    return _adjoints(network, run(network, inputs, dt, u), targets, dt, _exact_adjoint)[0]


def _adjoints(network: Network, trial: Trajectory, targets: Array, dt: float | Array, adjoint):
    """(lambda, a) of each layer, from the top layer down."""
    instants, adjoints = [], []
    for number in reversed(range(len(network.layers))):
        layer = network.layers[number]
        if not adjoints:
            instant = -network.cost.gradient(trial.potential[number], targets, layer.activation)
        else:
            above = network.layers[number + 1]
            arriving = above.connection.transpose(adjoints[-1], trial.rate[number])
            instant = pull_back(layer.activation, trial.potential[number], arriving)
        instants.append(instant)
        adjoints.append(adjoint(layer, instant, dt))
    return tuple(adjoints[::-1]), tuple(instants[::-1])


def _gradient(network: Network, trial: Trajectory, targets: Array, dt: float | Array, adjoint):
    adjoints, instants = _adjoints(network, trial, targets, dt, adjoint)
    dv = tuple(jnp.zeros_like(x) for x in trial.du)
    signals = Signals(trial.input, trial.potential, trial.rate, trial.du, dv, adjoints, instants, targets)
    # Time is one more batch axis, over which `plasticity` takes the mean instead of the integral. J is without beta.
    duration = dt * targets.shape[0]
    unscaled = eqx.tree_at(lambda network: network.beta, network, jnp.ones_like(network.beta))
    gradient = jax.tree.map(lambda x: duration * x, unscaled.plasticity(signals))
    return _integrated_cost(network, trial, targets, dt), gradient


def _integrated_cost(network: Network, trial: Trajectory, targets: Array, dt: float | Array) -> Array:
    costs = network.cost(trial.potential[-1], targets, network.layers[-1].activation)
    return dt * jnp.sum(costs.mean(axis=tuple(range(1, costs.ndim))))


def _exact_adjoint(layer: Layer, instant: Array, dt: float | Array) -> Array:
    tau_m = over_batch(layer.tau_m, instant[0])
    ratio = over_batch(layer.tau_r, instant[0]) / tau_m

    def back(p, a):
        return (1 - ratio) * dt * a + (1 - dt / tau_m) * p, ratio * a + p / tau_m

    return lax.scan(back, jnp.zeros_like(instant[0]), instant, reverse=True)[1]


def _algorithm2_adjoint(layer: Layer, instant: Array, dt: float | Array) -> Array:
    tau_m, tau_r = (over_batch(tau, instant[0]) for tau in (layer.tau_m, layer.tau_r))
    last = tau_r / tau_m * instant[-1]  # Eq. 64

    def back(adjoint, a):
        now, before = a
        lookback = now - tau_r * (now - before) / dt
        adjoint = adjoint * jnp.exp(-dt / tau_m) + lookback * dt / tau_m
        return adjoint, adjoint

    earlier = lax.scan(back, last, (instant[1:], instant[:-1]), reverse=True)[1]
    return jnp.concatenate([earlier, last[None]])
