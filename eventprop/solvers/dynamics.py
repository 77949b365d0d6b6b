"""All populations of a network as one dynamical system: its flow between events, its guards, and what events do."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from eventprop.neurons.base import AbstractNeuron, Event


class Slots(eqx.Module):
    """One event of one population: its guards are those from `first` on among all guards of the network."""

    population: int = eqx.field(static=True)
    event: int = eqx.field(static=True)
    emits: bool = eqx.field(static=True)
    first: int = eqx.field(static=True)
    size: int = eqx.field(static=True)


class Dynamics(eqx.Module):
    """The neurons of a network without their synapses.

    keys: the `args` of each population. Guards of all populations and events stand in one row, [guards].
    """

    neurons: tuple[AbstractNeuron, ...]
    keys: tuple[PRNGKeyArray | None, ...]
    sizes: tuple[int, ...] = eqx.field(static=True)

    @property
    def slots(self) -> tuple[Slots, ...]:
        """Who stands where in the row of guards."""
        found, first = [], 0
        for number, (neuron, size) in enumerate(zip(self.neurons, self.sizes, strict=True)):
            for event, what in enumerate(neuron.events):
                found.append(Slots(number, event, what.emits, first, size))
                first += size
        return tuple(found)

    @property
    def number(self) -> int:
        """How many guards there are."""
        return sum(slots.size for slots in self.slots)

    def of_population(self, values: Callable[[Slots], Any], dtype: Any) -> Array:
        """values(slots), repeated for each guard."""
        rows = [jnp.full(slots.size, values(slots), dtype) for slots in self.slots]
        return jnp.concatenate(rows) if rows else jnp.zeros(0, dtype)

    def _events(self) -> Iterator[tuple[Slots, Event]]:
        return ((slots, self.neurons[slots.population].events[slots.event]) for slots in self.slots)

    def field(self, t: Any, y: Any, args: Any = None) -> Any:
        """dy/dt of all populations, for `diffrax.ODETerm`."""
        del args
        return tuple(n.vector_field(t, x, key) for n, x, key in zip(self.neurons, y, self.keys, strict=True))

    def guards(self, t: Any, y: Any) -> Float[Array, " guards"]:
        """All guards, negative but at an event."""
        rows = [
            jnp.broadcast_to(event.guard(t, y[s.population], self.keys[s.population]), (s.size,))
            for s, event in self._events()
        ]
        return jnp.concatenate(rows) if rows else jnp.zeros(0)

    def guards_and_slopes(self, t: Any, y: Any) -> tuple[Float[Array, " guards"], Float[Array, " guards"]]:
        """The guards and how fast they rise along the flow."""
        return jax.jvp(self.guards, (t, y), (jnp.ones_like(t), self.field(t, y)))

    def units(self, dtype: Any) -> Float[Array, " guards"]:
        """The time in which a typical guard rises by 1 (`Event.unit`)."""
        rows = [jnp.broadcast_to(jnp.asarray(event.unit(), dtype), (s.size,)) for s, event in self._events()]
        return jnp.concatenate(rows) if rows else jnp.zeros(0, dtype)

    def voltages(self, y: Any) -> tuple[Float[Array, " _"], ...]:
        """The membrane potentials of each population."""
        return tuple(neuron.voltage(x) for neuron, x in zip(self.neurons, y, strict=True))

    def shift(self, t: Any, y: Any, delta: Float[Array, ""]) -> Any:
        """The state a time `delta` later along the flow, for a `delta` of 0 with derivatives.

        By the midpoint rule, whose first and second derivatives in `delta` are those of the flow.
        """
        half = _axpy(delta / 2, self.field(t, y), y)
        return _axpy(delta, self.field(t + delta / 2, half), y)

    def happen(
        self, t: Any, y: Any, happening: Bool[Array, " guards"], charges: dict[tuple[int, int], Array], delta: Any
    ) -> Any:
        """The state after events and arrivals that happen a time `delta` after `t`, seen from `t`.

            y+ = flow(-delta, R(flow(delta, y))):    dy+ = R_y dy- + (R_y f- + R_t - f+) dt    for delta = 0.

        charges: what arrives, by population and port.
        """
        after = self.jump(t + delta, self.shift(t, y, delta), happening, charges)
        return self.shift(t + delta, after, -delta)

    def jump(self, t: Any, y: Any, happening: Bool[Array, " guards"], charges: dict[tuple[int, int], Array]) -> Any:
        """The state after events and arrivals."""
        after = list(y)
        for s, event in self._events():
            own, number = happening[s.first : s.first + s.size], s.population
            jumped = event.jump(t, after[number], self.keys[number])
            after[number] = jax.tree.map(lambda new, old, own=own: jnp.where(own, new, old), jumped, after[number])
        for (number, port), charge in charges.items():
            after[number] = self.neurons[number].receive(after[number], port, charge)
        return tuple(after)


def _axpy(factor: Array, direction: Any, y: Any) -> Any:
    return jax.tree.map(lambda dy, x: (x + factor * dy).astype(x.dtype), direction, y)


def one_of(index: Int[Array, ""], size: int, condition: Bool[Array, ""]) -> Bool[Array, " size"]:
    """Only the one with this index, and nobody unless `condition` holds."""
    return (jnp.arange(size) == index) & condition
