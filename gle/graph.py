"""Populations of rate neurons with synapses between any two of them: skip connections, lateral and recurrent ones."""

import functools
import operator
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
from gle.coupling import AbstractCoupling, Decoupled, common_solution
from gle.neurons import Rates, batch_mean, check_signal
from gle.populations import Population, Projection, check_populations
from gle.signals import Signals, State
from gle.system import AbstractSystem


class Graph(AbstractSystem):
    """A network of Generalized Latent Equilibrium (Ellenberger et al., Eqs. 3, 6, 7) of any topology.

        tau_m u_n' = -u_n + sum_p (W_p r_source + b_p) + gamma e_n            r = phi(u + tau_r u')
        tau_r v_n' = -v_n + e_inst                                           e = v + tau_m v'
        e_inst = phi' * sum_p (W_p^T e_target), minus beta dC/dD+u in the last population, the output

    where the first sum runs over the projections that end in population n, the second over those that leave it. No
    synapse has a delay. Projections to a later population are followed in one sweep up and one sweep down. With
    projections that return (source >= target) rates depend on each other at every moment, and so do errors: both are
    solved for, [unknowns, unknowns] per sample, the unknowns being the rates of the populations where such projections
    begin and the errors of those where they end. At rest e is the error of recurrent backpropagation (Almeida 1987,
    Pineda 1987), and `plasticity` the exact gradient of the cost of the fixed point; in time it is GLE's approximation,
    for which the paper proves nothing ("architecture-agnostic", Discussion).

    populations: `Population`s, the output last. projections: `Projection`s. cost, beta, coupling: as in `Network`,
    which does the same for a chain of layers, and knows more of it (Algorithm 1, exact gradients through time).

    Raises ValueError for projections that do not fit, populations that nothing reaches, time constants that are not
    positive, and a cost that does not fit the outputs.
    """

    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    cost: AbstractCost
    beta: float | Float[Array, ""]
    coupling: AbstractCoupling

    def __init__(
        self,
        populations: Iterable[Population],
        projections: Iterable[Projection],
        cost: AbstractCost,
        *,
        beta: ArrayLike = 1.0,
        coupling: AbstractCoupling = Decoupled(),
    ):
        self.populations, self.projections = tuple(populations), tuple(projections)
        self.cost, self.beta, self.coupling = cost, as_number("beta", beta), coupling
        check_populations(self.populations, self.projections)
        cost.check(self.populations[-1].activation)

    @property
    def sources(self) -> int:
        """Number of inputs."""
        return next(p.connection.sources for p in self.projections if p.source is None)

    @property
    def outputs(self) -> int:
        """Number of neurons in the last population."""
        return self.populations[-1].size

    @property
    def implicit(self) -> bool:
        """Whether rates or errors depend on each other at every moment."""
        return not isinstance(self.coupling, Decoupled) or any(p.returns for p in self.projections)

    def init(self, batch: tuple[int, ...] = (), dtype: Any = None) -> State:
        """All potentials zero, in the precision of the time constants unless another `dtype` is asked for."""
        zeros = tuple(jnp.zeros_like(p.tau_m, dtype, shape=(*batch, p.size)) for p in self.populations)
        return State(zeros, zeros)

    def signals(self, state: State, input: Rates, target: Rates | None = None, *, throw: bool = True) -> Signals:
        """Everything at this moment, of each population. Without a target there are no errors at the output.

        Where rates and errors have no common solution (see `Coupled`), raises, or with throw=False holds NaN.
        """
        input, target = as_float("input", input), as_float("target", target)
        check_signal("input", input, state.u[0], self.sources)
        if target is not None:
            check_signal("target", target, state.u[-1], self.outputs)
        if not self.implicit:
            return self._sweep(state, input, target, {}, {})
        returning = [p for p in self.projections if p.returns]
        of_rates = sorted({p.source for p in returning if p.source is not None})
        of_errors = sorted({p.target for p in returning}) if self._decoupled else range(len(self.populations))

        def sweep(unknown: tuple[Rates, ...]) -> Signals:
            rates = dict(zip(of_rates, unknown[: len(of_rates)], strict=True))
            errors = dict(zip(of_errors, unknown[len(of_rates) :], strict=True))
            return self._sweep(state, input, target, rates, errors)

        def anew(unknown: tuple[Rates, ...]) -> tuple[Rates, ...]:
            found = sweep(unknown)
            return (*(found.rate[n] for n in of_rates), *(found.error[n] for n in of_errors))

        guess = (*(self.populations[n].activation(state.u[n]) for n in of_rates), *(state.v[n] for n in of_errors))
        finder = getattr(self.coupling, "root_finder", None)
        return sweep(common_solution(anew, guess, finder, throw))

    @property
    def _decoupled(self) -> bool:
        return isinstance(self.coupling, Decoupled)

    def _sweep(
        self, state: State, input: Rates, target: Rates | None, rates: dict[int, Rates], errors: dict[int, Rates]
    ) -> Signals:
        """Once up and once down; `rates` and `errors` are those that returning projections, and gamma, ask for."""
        numbers = range(len(self.populations))
        presynaptic: dict[int | None, Rates] = {None: input, **rates}
        error = dict(errors)
        du, potential, dv, instant = {}, {}, {}, {}
        for n in numbers:
            incoming = [p for p in self.projections if p.target == n]
            drive = functools.reduce(operator.add, [p.connection(presynaptic[p.source]) for p in incoming])
            if not self._decoupled:
                drive = drive + self.coupling.gamma * errors[n]
            du[n], potential[n] = self.populations[n].membrane.flow(state.u[n], drive)
            presynaptic[n] = self.populations[n].activation(potential[n])
        for n in reversed(numbers):
            instant[n] = self._instant(n, potential[n], presynaptic[n], error, target)
            dv[n], error[n] = self.populations[n].error_neuron.flow(state.v[n], instant[n])
        potential, rate, du, dv, error, instant = (
            tuple(x[n] for n in numbers) for x in (potential, presynaptic, du, dv, error, instant)
        )
        return Signals(input, potential, rate, du, dv, error, instant, target)

    def _instant(self, number: int, potential: Rates, rate: Rates, errors: Any, target: Rates | None) -> Rates:
        """e_inst of a population: from the errors of those that it leads to, and in the last one from the cost."""
        population, arriving = self.populations[number], self._arriving(number, rate, errors)
        instant = jnp.zeros_like(potential)
        if arriving is not None:
            instant = population.gate(population.activation, potential, arriving)
        if number == len(self.populations) - 1 and target is not None:
            instant = instant - self.beta * self.cost.gradient(potential, target, population.activation)
        return instant

    def _arriving(self, number: int, rate: Rates, errors: Any) -> Rates | None:
        """What stands for sum_p W_p^T e: the errors as they reach the rates of a population; None where none do."""
        leaving = [
            p.feedback.backward(p.connection, errors[p.target], rate) for p in self.projections if p.source == number
        ]
        return functools.reduce(operator.add, leaving) if leaving else None

    def equilibrium(self, input: Rates, target: Rates | None = None, *, throw: bool = True) -> State:
        """The state in which a constant input and target leave it: u = sum (W r + b) + gamma e and v = e_inst."""
        input, target = as_float("input", input), as_float("target", target)
        taus = [p.tau_m for p in self.populations]
        # With tau_r = tau_m rates and errors follow at once, whatever u and v are.
        without_lags = eqx.tree_at(lambda graph: [p.tau_r for p in graph.populations], self, taus)
        signals = without_lags.signals(self.init(input.shape[:-1]), input, target, throw=throw)
        return State(signals.potential, signals.error)

    def time_constants(self) -> tuple[Array, ...]:
        """Of the membranes and of the error neurons."""
        return (*(p.tau_m for p in self.populations), *(p.tau_r for p in self.populations))

    def loss(self, signals: Signals) -> Float[Array, ""]:
        """The cost of this moment, averaged over the batch; zero without a target."""
        if signals.target is None:
            return jnp.zeros((), signals.output.dtype)
        return jnp.mean(self.cost(signals.output, signals.target, self.populations[-1].activation))

    def plasticity(self, signals: Signals) -> "Graph":
        """dE/dtheta for W, b, tau_m, tau_r (minus the right-hand sides of Eqs. 21-24), and for the activations."""
        zeros = jax.tree.map(jnp.zeros_like, eqx.filter(self, eqx.is_inexact_array))
        populations = [
            eqx.tree_at(
                lambda x: (x.tau_m, x.tau_r, x.activation),
                zero,
                (
                    batch_mean(signals.error[number] * signals.du[number]),
                    batch_mean(-signals.instant[number] * signals.du[number]),
                    self._activation_gradient(number, signals),
                ),
            )
            for number, zero in enumerate(zeros.populations)
        ]
        projections = []
        for p, zero in zip(self.projections, zeros.projections, strict=True):
            gradient = p.connection.gradient(signals.error[p.target], _presynaptic(p, signals))
            both = (gradient, p.feedback.gradient(gradient))
            projections.append(eqx.tree_at(lambda x: (x.connection, x.feedback), zero, both))
        return eqx.tree_at(lambda x: (x.populations, x.projections), zeros, (tuple(populations), tuple(projections)))

    def _activation_gradient(self, number: int, signals: Signals) -> PyTree:
        """-(sum W^T e) dphi/dtheta, and at the output beta dC/dtheta."""
        arrays, rest = eqx.partition(self.populations[number].activation, eqx.is_inexact_array)
        if not jax.tree.leaves(arrays):
            return arrays
        potential, target = signals.potential[number], signals.target
        arriving = self._arriving(number, signals.rate[number], signals.error)

        def energy(arrays):
            activation, total = eqx.combine(arrays, rest), jnp.zeros((), potential.dtype)
            if arriving is not None:
                total = total - jnp.sum(arriving * activation(potential))
            if number == len(self.populations) - 1 and target is not None:
                total = total + self.beta * jnp.sum(self.cost(potential, target, activation))
            return total / int(np.prod(potential.shape[:-1]))

        return jax.grad(energy)(arrays)

    def synapses(self, signals: Signals) -> dict[str, PyTree]:
        """The signals `pre`, `post` and `error` of learning rules, as those of `Network.synapses`."""

        def at_weights(of_projection: Any) -> PyTree:
            def put(path: Any, _: Any) -> Rates | None:
                names = [getattr(part, "name", None) for part in path]
                synaptic = names[0] == "projections" and names[-1] == "weight"
                return of_projection(self.projections[path[1].idx]) if synaptic else None

            return jax.tree_util.tree_map_with_path(put, eqx.filter(self, eqx.is_inexact_array))

        return {
            "pre": at_weights(lambda p: _presynaptic(p, signals)),
            "post": at_weights(lambda p: signals.rate[p.target]),
            "error": at_weights(lambda p: signals.error[p.target]),
        }

    def energy(self, signals: Signals, target: Rates) -> Float[Array, "*batch"]:
        """E = 1/2 sum |D+ u - sum (W r + b)|^2 + beta C per sample (Eq. 3)."""
        total = self.beta * self.cost(signals.output, as_float("target", target), self.populations[-1].activation)
        for number, population in enumerate(self.populations):
            du = signals.du[number]
            mismatch = signals.potential[number] + over_batch(population.tau_m - population.tau_r, du) * du
            for p in self.projections:
                if p.target == number:
                    mismatch = mismatch - p.connection(_presynaptic(p, signals))
            total = total + 0.5 * jnp.sum(mismatch**2, axis=-1)
        return total


def _presynaptic(projection: Projection, signals: Signals) -> Rates:
    return signals.input if projection.source is None else signals.rate[projection.source]
