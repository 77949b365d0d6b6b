"""Layers of rate neurons with errors that travel back through them: energy, signals, dynamics and local plasticity.

All arrays have the neurons as their last axis; any leading axes are a batch, over which gradients are averaged.
"""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from gle.arrays import as_float, as_number
from gle.connections import over_batch
from gle.costs import AbstractCost
from gle.coupling import AbstractCoupling, Decoupled
from gle.layers import Layer, check_layers
from gle.neurons import Rates, batch_mean, check_signal
from gle.signals import Signals, State
from gle.system import AbstractSystem


class Network(AbstractSystem):
    """A feed-forward network of Generalized Latent Equilibrium (Ellenberger et al., Eqs. 3, 6, 7).

        tau_m u' = -u + W r_below + b + gamma e          r = phi(u + tau_r u')
        tau_r v' = -v + e_inst                           e = v + tau_m v'
        e_inst = phi' * (W_above^T e_above), and -beta dC/dD+u at the top

    beta: nudging strength. coupling: whether and how errors enter the membrane, `Decoupled()` (gamma = 0) or
    `Coupled(gamma)`, with which errors and rates depend on each other at every moment.

    Raises ValueError for layers that do not fit together, time constants that are not positive, tau_r = 0 in a layer
    that errors pass through, and a cost that does not fit the outputs.
    """

    layers: tuple[Layer, ...]
    cost: AbstractCost
    beta: float | Float[Array, ""]
    coupling: AbstractCoupling

    def __init__(
        self,
        layers: Iterable[Layer],
        cost: AbstractCost,
        *,
        beta: ArrayLike = 1.0,
        coupling: AbstractCoupling = Decoupled(),
    ):
        self.layers = tuple(layers)
        for name, value, kind in (("cost", cost, AbstractCost), ("coupling", coupling, AbstractCoupling)):
            if not isinstance(value, kind):
                raise ValueError(f"{name} must be an object such as gle.{_EXAMPLES[name]}, but is {value!r}.")
        self.cost, self.beta, self.coupling = cost, as_number("beta", beta), coupling
        check_layers(self.layers)
        cost.check(self.layers[-1].activation)

    @property
    def sources(self) -> int:
        """Number of inputs."""
        return self.layers[0].connection.sources

    @property
    def outputs(self) -> int:
        """Number of neurons in the last layer."""
        return self.layers[-1].connection.neurons

    @property
    def implicit(self) -> bool:
        """Whether rates and errors depend on each other at every moment."""
        return not isinstance(self.coupling, Decoupled)

    @property
    def lowest(self) -> int:
        """Number of the lowest plastic layer; errors are computed from there on."""
        return next((number for number, layer in enumerate(self.layers) if layer.plastic), len(self.layers))

    def init(self, batch: tuple[int, ...] = (), dtype: Any = None) -> State:
        """All potentials zero, in the precision of the time constants unless another `dtype` is asked for."""
        dtype = self.layers[0].tau_m.dtype if dtype is None else dtype
        zeros = tuple(
            jnp.zeros_like(layer.tau_m, dtype, shape=(*batch, layer.connection.neurons)) for layer in self.layers
        )
        return State(zeros, zeros)

    def forward(self, u: tuple[Rates, ...], rates: Rates, errors: tuple[Rates, ...] | None = None):
        """(u', prospective potentials, rates) of each layer from the bottom up, given the errors that act on u."""
        du, potentials, out = [], [], []
        for number, (layer, membrane) in enumerate(zip(self.layers, u, strict=True)):
            drive = layer.connection(rates)
            if errors is not None:
                drive = drive + self.coupling.gamma * errors[number]
            change, potential = layer.membrane.flow(membrane, drive)
            rates = layer.activation(potential)
            du.append(change)
            potentials.append(potential)
            out.append(rates)
        return tuple(du), tuple(potentials), tuple(out)

    def backward(
        self,
        v: tuple[Rates, ...],
        potentials: tuple[Rates, ...],
        rates: tuple[Rates, ...],
        target: Rates | None,
    ):
        """(v', errors, instantaneous errors) of each layer, from the top down (Eqs. 15-19)."""
        dv, errors, instants = [], [], []
        for number in reversed(range(len(self.layers))):
            layer = self.layers[number]
            if number < self.lowest:
                instant = dlayer = error = jnp.zeros_like(v[number])
            else:
                above = errors[-1] if errors else None
                instant = self.instant(number, potentials[number], rates[number], above, target)
                dlayer, error = layer.error_neuron.flow(v[number], instant)
            dv.append(dlayer)
            errors.append(error)
            instants.append(instant)
        return tuple(dv[::-1]), tuple(errors[::-1]), tuple(instants[::-1])

    def instant(self, number: int, potential: Rates, rate: Rates, above: Rates | None, target: Rates | None) -> Rates:
        """e_inst of a layer: from the errors of the layer above it (Eq. 17); at the top, from the cost (Eq. 18)."""
        layer = self.layers[number]
        if above is None:
            if target is None:
                return jnp.zeros_like(potential)
            return -self.beta * self.cost.gradient(potential, target, layer.activation)
        return layer.gate(layer.activation, potential, self.arriving(number, rate, above))

    def arriving(self, number: int, rate: Rates, above: Rates) -> Rates:
        """What stands for W_above^T e_above: the errors of the layer above as they reach the rates of a layer."""
        upper = self.layers[number + 1]
        return upper.feedback.backward(upper.connection, above, rate)

    def signals(self, state: State, input: Rates, target: Rates | None = None, *, throw: bool = True) -> Signals:
        """Everything at this moment. Without a target there are no errors at the top.

        Where rates and errors have no common solution (see `Coupled`), raises, or with throw=False holds NaN.
        """
        input, target = as_float("input", input), as_float("target", target)
        check_signal("input", input, state.u[0], self.layers[0].connection.sources)
        if target is not None:
            check_signal("target", target, state.u[-1], self.layers[-1].connection.neurons)

        def sweep(errors):
            du, potentials, rates = self.forward(state.u, input, errors)
            dv, errors, instants = self.backward(state.v, potentials, rates, target)
            return Signals(input, potentials, rates, du, dv, errors, instants, target)

        return sweep(self.coupling.settle(lambda errors: sweep(errors).error, state.v, throw))

    def without_lags(self) -> "Network":
        """The same network with tau_r = tau_m: its rates and errors follow at once, whatever u and v are."""
        taus = [layer.tau_m for layer in self.layers]
        return eqx.tree_at(lambda network: [layer.tau_r for layer in network.layers], self, taus)

    def frozen(self) -> "Network":
        """The same network with no plastic layer, so without errors that act on anything; cheaper to run."""
        layers = [
            Layer(x.connection, x.tau_m, x.tau_r, x.activation, feedback=x.feedback, gate=x.gate, plastic=False)
            for x in self.layers
        ]
        return Network(layers, self.cost, beta=self.beta)

    def equilibrium(self, input: Rates, target: Rates | None = None, *, throw: bool = True) -> State:
        """The state in which a constant input and target leave the network: u = W r + b + gamma e and v = e_inst.

        throw: as in `signals`.
        """
        input, target = as_float("input", input), as_float("target", target)
        signals = self.without_lags().signals(self.init(input.shape[:-1]), input, target, throw=throw)
        return State(signals.potential, signals.error)

    def course(self, inputs: Rates, dt: ArrayLike, start: State) -> tuple[Rates, State]:
        """Potentials of the outputs at every step of forward Euler without errors, and the state after the last one.

        All steps at once, layer after layer: with constant weights a layer is a diagonal linear state-space model
        followed by phi (Eqs. 40, 41), so it takes one matrix product and one associative scan over time (section 5.5).
        """
        rates, potentials, last = inputs, inputs, []
        for layer, u in zip(self.layers, start.u, strict=True):
            end, potentials = layer.membrane.course(u, layer.connection(rates), dt)
            rates = layer.activation(potentials)
            last.append(end)
        return potentials, State(tuple(last), start.v)

    def time_constants(self) -> tuple[Array, ...]:
        """Of the membranes, and of the error neurons that errors pass."""
        taus = [layer.tau_m for layer in self.layers]
        return (*taus, *(layer.tau_r for layer in self.layers[self.lowest :]))

    def loss(self, signals: Signals) -> Float[Array, ""]:
        """The cost of this moment, averaged over the batch; zero without a target."""
        if signals.target is None:
            return jnp.zeros((), signals.output.dtype)
        return jnp.mean(self.cost(signals.output, signals.target, self.layers[-1].activation))

    def plasticity(self, signals: Signals) -> "Network":
        """dE/dtheta for W, b, tau_m, tau_r (minus the right-hand sides of Eqs. 21-24), as a network of gradients.

        Parameters of an activation learn likewise, by -(W_above^T e_above) dphi/dtheta.
        """
        zeros = jax.tree.map(jnp.zeros_like, eqx.filter(self, eqx.is_inexact_array))
        layers = list(zeros.layers)
        for number, layer in enumerate(self.layers):
            if layer.plastic:
                du, error, instant = signals.du[number], signals.error[number], signals.instant[number]
                connection = layer.connection.gradient(error, signals.below[number])
                tau_m, tau_r = batch_mean(error * du), batch_mean(-instant * du)
                activation = self.activation_gradient(number, signals)
                gradients = (connection, tau_m, tau_r, layer.feedback.gradient(connection), activation)
                layers[number] = eqx.tree_at(_parameters, layers[number], gradients)
        return eqx.tree_at(lambda network: network.layers, zeros, tuple(layers))

    def activation_gradient(self, number: int, signals: Signals) -> PyTree:
        """dE/dtheta for the parameters of a layer's activation: -(W_above^T e_above) dphi/dtheta, at the top from C."""
        potential, rate, target = signals.potential[number], signals.rate[number], signals.target
        arrays, rest = eqx.partition(self.layers[number].activation, eqx.is_inexact_array)
        if not jax.tree.leaves(arrays):
            return arrays
        size = int(np.prod(potential.shape[:-1]))
        if number + 1 < len(self.layers):
            arriving = self.arriving(number, rate, signals.error[number + 1])
            return jax.vjp(lambda arrays: eqx.combine(arrays, rest)(potential), arrays)[1](-arriving / size)[0]
        if target is None:
            return jax.tree.map(jnp.zeros_like, arrays)
        cost = lambda arrays: self.beta * jnp.sum(self.cost(potential, target, eqx.combine(arrays, rest))) / size  # noqa: E731
        return jax.grad(cost)(arrays)

    def synapses(self, signals: Signals) -> dict[str, PyTree]:
        """The signals `pre`, `post` and `error` of learning rules: at each weight those of its synapses, else None.

        Trees with the structure of the network's parameters. At a weight [neurons, sources] stand the rates of the
        sources `pre` [*batch, sources], and the rates `post` and errors of the neurons [*batch, neurons]. Backward
        weights have the shape of the forward weights, and their signals. Under `Exploring` also `noise` and `filtered`
        at each backward weight: of the layer that it leads to [*batch, sources], and of its own [*batch, neurons].
        """

        def at_weights(values: tuple[Rates | None, ...], kinds: tuple[str, ...] = ("connection", "feedback")) -> PyTree:
            def put(path: Any, _: Any) -> Rates | None:
                names = [getattr(part, "name", None) for part in path]
                synaptic = names[0] == "layers" and names[2] in kinds and names[-1] == "weight"
                return values[path[1].idx] if synaptic else None

            return jax.tree_util.tree_map_with_path(put, eqx.filter(self, eqx.is_inexact_array))

        signals_of = {"pre": signals.below, "post": signals.rate, "error": signals.error}
        trees = {name: at_weights(values) for name, values in signals_of.items()}
        if signals.noise is not None and signals.filtered is not None:
            trees["noise"] = at_weights((None, *signals.noise), ("feedback",))
            trees["filtered"] = at_weights((None, *signals.filtered[1:]), ("feedback",))
        return trees

    def energy(self, signals: Signals, target: Rates) -> Float[Array, "*batch"]:
        """E = 1/2 sum |D+ u - W r - b|^2 + beta C per sample (Eq. 3), the mismatches taken from u and u'.

        With gamma = 0 membranes follow their input alone, mismatches vanish and E = beta C.
        """
        target = as_float("target", target)
        check_signal("target", target, signals.potential[-1], self.layers[-1].connection.neurons)
        total = self.beta * self.cost(signals.potential[-1], target, self.layers[-1].activation)
        for layer, below, prospective, du in zip(
            self.layers, signals.below, signals.potential, signals.du, strict=True
        ):
            mismatch = prospective + over_batch(layer.tau_m - layer.tau_r, du) * du - layer.connection(below)
            total = total + 0.5 * jnp.sum(mismatch**2, axis=-1)
        return total


def _parameters(layer: Layer) -> tuple[Any, ...]:
    return layer.connection, layer.tau_m, layer.tau_r, layer.feedback, layer.activation


_EXAMPLES = {"cost": "MeanSquaredError()", "coupling": "Coupled(0.1)"}
