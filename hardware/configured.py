"""A chip that is set up for a network: its circuits as neurons, its rows of synapses as projections."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import eventprop as ep
from hardware.chip import Chip, Parameters
from hardware.circuits import Part, circuit, features_of
from hardware.codes import Codes
from hardware.device import Features
from hardware.limits import Limits
from hardware.observe import Converter
from hardware.placement import Placement, Route
from hardware.weights import row_weights


class Configured(eqx.Module):
    """A chip set up for a network. gains: the charge per weight of each projection's synapses."""

    parameters: Parameters
    converter: Converter
    gains: tuple[Float[Array, "_ _ 2 _"], ...]
    placement: Placement = eqx.field(static=True)
    features: tuple[Features, ...] = eqx.field(static=True)
    edges: tuple[tuple[int | None, int], ...] = eqx.field(static=True)

    @classmethod
    def of(cls, chip: Chip, network: ep.AbstractNetwork, placement: Placement, codes: Codes) -> "Configured":
        """Raises ValueError for neurons that the chip has not."""
        edges = tuple((p.source, p.target) for p in network.projections)
        gains = tuple(
            _gains(chip, route, placement.circuits[target])
            for route, (_, target) in zip(placement.routes, edges, strict=True)
        )
        features = tuple(features_of(neuron) for neuron in network.neurons)
        return cls(chip.parameters(codes), converter(chip, codes), gains, placement, features, edges)

    def network(self, chip: Chip, parameters: Parameters, weights: tuple[Float[Array, "_ _"], ...]) -> ep.Network:
        """The placed network, made of circuits and of the charges that rows of synapses deliver."""
        circuits = self.placement.circuits
        neurons = [circuit(parameters, at, on) for at, on in zip(circuits, self.features, strict=True)]
        latency = chip.noise.latency or None
        projections = []
        for (source, target), route, gain, weight in zip(
            self.edges, self.placement.routes, self.gains, weights, strict=True
        ):
            charge = row_weights(weight, gain.shape[1], chip.limits.largest_weight) * gain
            delay = None if source is None else latency
            for slot in range(circuits[target].shape[1]):
                projections += [(source, target, part) for part in _parts(charge, route, slot, delay)]
        return ep.Network([noisy(neuron, chip) for neuron in neurons], projections)

    def input_bus(self, limits: Limits) -> np.ndarray:
        """The bus of each input source: that of its first row pair."""
        for (source, target), route in zip(self.edges, self.placement.routes, strict=True):
            if source is None:
                circuits = self.placement.circuits[target][0, route.slots[:, 0]]
                return circuits // limits.columns * limits.buses + route.row_pairs[:, 0] % limits.buses
        raise ValueError("no projection comes from the input: one with the source None is needed.")


def converter(chip: Chip, codes: Codes) -> Converter:
    """The CADC channels of all circuits as these codes make them."""
    slope = (chip.cadc_slope / jnp.maximum(codes.cadc_slope, 1))[chip.limits.quadrant()]
    return Converter(chip.factor["cadc_gain"] * slope, chip.cadc_offset + codes.cadc_offset)


def noisy(neuron: ep.AbstractNeuron, chip: Chip) -> ep.AbstractNeuron:
    """The neuron with the noise that membranes of this chip have."""
    scale = chip.noise.membrane
    return ep.Noise(neuron, scale) if scale else neuron


def _parts(charge: Array, route: Route, slot: int, delay: float | None) -> list[Part]:
    """The synapses on one of the merged circuits, excitatory and inhibitory ones."""
    here = route.slots == slot
    columns = np.flatnonzero(np.any(here, axis=1))
    if not len(columns):
        return []
    kept = jnp.asarray(here[columns], charge.dtype)[:, :, None, None]
    summed = jnp.sum(charge[columns] * kept, axis=1)
    size, columns = route.row_pairs.shape[0], tuple(int(x) for x in columns)
    return [Part(summed[:, end].T, columns=columns, size=size, delay=delay, port=2 * slot + end) for end in (0, 1)]


def _gains(chip: Chip, route: Route, circuits: np.ndarray) -> Float[Array, "sources repetitions 2 neurons"]:
    """The charge per weight of every synapse of a projection."""
    at = np.moveaxis(circuits[:, route.slots], 0, -1)
    rows = np.broadcast_to(route.row_pairs[..., None], at.shape)
    each = [chip.synapse_gain(jnp.asarray(rows), jnp.asarray(at), end) for end in (0, 1)]
    return jnp.stack(each, axis=2)
