"""Learning rules that carry sensitivities forward in time, to compare with: RTRL and RFLO.

Both are steppers for `online`, in forward Euler steps without coupling of errors into the membrane (gamma = 0). A
sensitivity is the derivative of a sample's potentials by every parameter, so both are for small networks: memory grows
with batch x potentials x parameters (RTRL), or with batch x neurons x parameters of a layer (RFLO), not with time.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, PyTree

from gle.layers import Layer
from gle.network import Network
from gle.neurons import Rates
from gle.signals import Signals, State
from gle.steppers import AbstractStepper, Instantaneous


class Sensitive(NamedTuple):
    """Potentials, their derivatives by the parameters of each sample, and the layers' gradients of the step before."""

    state: State
    sensitivity: Any
    gradient: tuple[Layer, ...]


class _ForwardMode(AbstractStepper):
    """Forward Euler steps whose state holds the gradient."""

    def gradient(self, network: Network, state: Sensitive, signals: Signals) -> PyTree:
        return eqx.tree_at(lambda network: network.layers, _zeros(network), state.gradient)

    def limit(self) -> float:
        return 2.0


class RTRL(_ForwardMode):
    """Real-time recurrent learning (Williams & Zipser 1989): the exact derivative of beta C(t) at every t.

        P = du/dtheta,   P(t + dt) = F_u P + F_theta,   gradient = C_u P + C_theta,   u(t + dt) = F(u, theta)

    The sum over a trial is the gradient of `bptt`, as long as nothing is learned in between.
    """

    def init(self, network: Network, state: State) -> Sensitive:
        parameters, _ = ravel_pytree(_arrays(network.layers))
        batch = state.u[0].shape[:-1]
        sensitivity = tuple(jnp.zeros((*batch, parameters.size, u.shape[-1]), u.dtype) for u in state.u)
        return Sensitive(state, sensitivity, _zeros(network).layers)

    def step(self, network: Network, state: Sensitive, input: Rates, target: Rates | None, dt: ArrayLike):
        parameters, unravel = ravel_pytree(_arrays(network.layers))

        def advance(u, parameters, input, target):
            layers = eqx.combine(unravel(parameters), network.layers)
            changed = eqx.tree_at(lambda network: network.layers, network, layers)
            du, potentials, _ = changed.forward(u, input)
            cost = 0.0 if target is None else network.beta * network.cost(potentials[-1], target, layers[-1].activation)
            return tuple(x + dt * dx for x, dx in zip(u, du, strict=True)), jnp.asarray(cost, input.dtype)

        def sample(u, sensitivity, input, target):
            return _along_parameters(lambda u, p: advance(u, p, input, target), u, parameters, sensitivity)

        for _ in input.shape[:-1]:
            sample = jax.vmap(sample, in_axes=(0, 0, 0, None if target is None else 0))
        sensitivity, by_parameter = sample(state.state.u, state.sensitivity, input, target)
        gradient = unravel(jnp.mean(by_parameter.reshape(-1, parameters.size), axis=0))
        after, signals = Instantaneous().step(network, state.state, input, target, dt)
        return Sensitive(after, sensitivity, _of_plastic(network, gradient)), signals


class RFLO(_ForwardMode):
    """Random-feedback local online learning (Murray 2019): instantaneous errors times eligibility traces.

        gradient_l = -e_l d(D+ u_l)/dtheta_l,    e = phi' * (W_above^T e_above),    -beta dC/dD+u at the top

    Each neuron carries the derivative of its own potential by its own parameters only. What a parameter does to the
    layers above is followed through their present rates, not through their past. Exact if all lags are in the lowest
    layer. The feedback weights are the layers' own: `FeedbackAlignment` for the random ones of the paper.
    """

    def init(self, network: Network, state: State) -> Sensitive:
        traces = []
        for layer, u in zip(network.layers, state.u, strict=True):
            parameters, _ = ravel_pytree(_arrays(layer))
            traces.append(jnp.zeros((*u.shape[:-1], parameters.size, u.shape[-1]), u.dtype))
        return Sensitive(state, tuple(traces), _zeros(network).layers)

    def step(self, network: Network, state: Sensitive, input: Rates, target: Rates | None, dt: ArrayLike):
        traces, gradients = [], []
        after, signals = Instantaneous().step(network, state.state, input, target, dt)
        for number, below in enumerate(signals.below):
            layer, error = network.layers[number], signals.error[number]
            parameters, unravel = ravel_pytree(_arrays(layer))

            def advance(u, parameters, below, layer=layer, unravel=unravel):
                changed = eqx.combine(unravel(parameters), layer)
                du, potential = changed.membrane.flow(u, changed.connection(below))
                return u + dt * du, potential

            def sample(u, trace, below, error, advance=advance, parameters=parameters):
                trace, potential = _along_parameters(lambda u, p: advance(u, p, below), u, parameters, trace)
                return trace, -potential @ error

            for _ in input.shape[:-1]:
                sample = jax.vmap(sample)
            trace, gradient = sample(state.state.u[number], state.sensitivity[number], below, error)
            traces.append(trace)
            # Parameters of the activation act on the present rate only: there is nothing to trace.
            gradient = unravel(jnp.mean(gradient.reshape(-1, parameters.size), axis=0))
            activation = network.activation_gradient(number, signals)
            gradients.append(eqx.tree_at(lambda layer: layer.activation, gradient, activation))
        return Sensitive(after, tuple(traces), _of_plastic(network, gradients)), signals


def _along_parameters(function: Callable[..., Any], u: Any, parameters: Array, sensitivity: Any) -> Any:
    """The derivative of function(u, parameters) by each parameter, given that of u."""

    def along(by_u, direction):
        return jax.jvp(function, (u, parameters), (by_u, direction))[1]

    return jax.vmap(along)(sensitivity, jnp.diag(jnp.ones_like(parameters)))


def _of_plastic(network: Network, gradients: Sequence[Layer]) -> tuple[Layer, ...]:
    """The gradients of the plastic layers, zero elsewhere."""
    layers = zip(network.layers, gradients, _zeros(network).layers, strict=True)
    return tuple(gradient if layer.plastic else zero for layer, gradient, zero in layers)


def _arrays(tree: Any) -> Any:
    return eqx.filter(tree, eqx.is_inexact_array)


def _zeros(network: Network) -> Network:
    return jax.tree.map(jnp.zeros_like, _arrays(network))
