"""Weights of a network as the chip holds them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from eventprop import AbstractConnection, AbstractNetwork, ConductanceSynapses, CurrentSynapses
from eventprop.failures import error_if
from eventprop.neurons.noise import without_noise
from eventprop.neurons.synapses import AbstractSynapses
from eventprop.parameters import as_float, check_positive, check_scalars
from hardware.limits import BSS2, Limits
from hardware.placement import Placement
from hardware.quantise import round_to, saturated


class HardwareWeights(NamedTuple):
    """values: of each projection [neurons, sources], floats that hold whole numbers; saturated: how many clipped."""

    values: tuple[Float[Array, "_ _"], ...]
    saturated: Int[Array, ""]


def hardware_weights(
    network: AbstractNetwork, placement: Placement, weight_scale: float | Array | Sequence, limits: Limits = BSS2
) -> HardwareWeights:
    """The weights to send to the chip: clip(round(weight_scale w), +-63 r), r row pairs being at the synapse's service.

    weight_scale: LSB per unit of weight, one number or one per projection. Gradients pass straight through, where
    nothing saturates. Connections of any kind become dense, [neurons, sources].

    On the chip the sign of a weight says at which input an event comes, in a model with two receptors its port: the
    weights of conductances at port 1, positive there, are sent as inhibitory ones (`signs`). An error, when it runs,
    for currents that inhibit at port 0 of two, or excite at port 1, and for a lone receptor of conductances that
    inhibits. Raises ValueError for neurons with more receptors.
    """
    projections = network.projections
    scales = each_projection(weight_scale, len(projections))
    values, clipped = [], jnp.zeros((), jnp.int32)
    each = zip(projections, scales, placement.repetitions, signs(network), strict=True)
    for p, scale, repetitions, sign in each:
        scaled = sign * _at_its_input(p, network) * scale
        most = limits.largest_weight * repetitions
        values.append(round_to(scaled, -most, most))
        clipped += saturated(scaled, -most, most)
    return HardwareWeights(tuple(values), clipped)


def largest_weights(
    placement: Placement, weight_scale: float | Array | Sequence, limits: Limits = BSS2
) -> tuple[Float[Array, ""], ...]:
    """The largest magnitude of a weight of each projection that does not saturate, in the model's units:

        63 r / weight_scale,

    r row pairs being at a synapse's service. Beyond it the chip and the model in the loop are no longer the same
    network, and no gradient leads back: keep to it with `keep_in_range`.
    """
    scales = each_projection(weight_scale, len(placement.repetitions))
    most = [limits.largest_weight * repetitions for repetitions in placement.repetitions]
    return tuple(each / jnp.asarray(scale) for each, scale in zip(most, scales, strict=True))


def keep_in_range(
    placement: Placement, weight_scale: float | Array | Sequence, limits: Limits = BSS2
) -> optax.GradientTransformation:
    """Keeps the weights of a network within what the chip holds (`largest_weights`). Stands last in `optax.chain`.

        optimiser = optax.chain(optax.adam(1e-3), hw.keep_in_range(placement, weight_scale))
        updates, state = optimiser.update(gradients, state, network)         # it needs the parameters

    weight + update becomes the nearest weight that the chip holds. A weight at the end of the range is not stuck: it
    leaves as soon as its update points inwards. A projection without updates (None) is left alone. Raises ValueError
    where `update` is called without parameters.
    """

    def update(updates: AbstractNetwork, state: Any, params: AbstractNetwork | None = None):
        if params is None:
            raise ValueError("keep_in_range needs the parameters: optimiser.update(gradients, state, network).")
        found = [
            None if change is None else jnp.clip(old + change, -most, most) - old
            for change, old, most in zip(
                _weights(updates), _weights(params), largest_weights(placement, weight_scale, limits), strict=True
            )
        ]
        return eqx.tree_at(_weights, updates, found, is_leaf=lambda x: x is None), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)  # pyright: ignore[reportArgumentType]


def _weights(network: Any) -> list[Any]:
    return [p.connection.weight for p in network.projections]


def each_projection(weight_scale: Any, projections: int) -> list[Any]:
    """The scale of each projection, as floats, of one number for all or one each.

    Raises ValueError for another number of them, and for scales that are not positive.
    """
    several = isinstance(weight_scale, list | tuple) or np.ndim(weight_scale) > 0
    scales = [as_float("weight_scale", scale) for scale in (weight_scale if several else [weight_scale] * projections)]
    if len(scales) != projections:
        raise ValueError(f"weight_scale has {len(scales)} numbers, but the network {projections} projections.")
    for scale in scales:
        check_scalars(weight_scale=scale)
        check_positive("weight_scale", scale, "LSB per unit of weight")
    return scales


def signs(network: AbstractNetwork) -> tuple[int, ...]:
    """Of each projection, what its weights are multiplied with on the chip: -1 for inhibitory conductances, else 1."""
    found = []
    for p in network.projections:
        synapses = _synapses(network, p)
        if synapses is not None and synapses.ports > 2:
            raise ValueError(
                f"the neurons of population {p.target} have {synapses.ports} receptors, but circuits of the chip an "
                "excitatory and an inhibitory one."
            )
        inhibits = isinstance(synapses, ConductanceSynapses) and p.connection.port == 1
        found.append(-1 if inhibits else 1)
    return tuple(found)


def _target(network: AbstractNetwork, projection: Any) -> Any:
    return without_noise(network.neurons[projection.target])


def _synapses(network: AbstractNetwork, projection: Any) -> AbstractSynapses | None:
    return getattr(_target(network, projection), "synapses", None)


def _at_its_input(projection: Any, network: AbstractNetwork) -> Array:
    """The weights, checked. Those of currents must have the sign of their port, where there are two."""
    weights, synapses = dense(projection.connection), _synapses(network, projection)
    if isinstance(synapses, ConductanceSynapses) and synapses.ports == 1:
        (reversal,), rest = synapses.reversal, _target(network, projection).start()[0]
        return error_if(
            weights,
            jnp.less(reversal, rest),
            f"the receptor of population {projection.target} inhibits, its reversal potential lies below the leak: on "
            "the chip port 1 of two is the inhibitory input. Give two time constants, two reversal potentials, port=1.",
        )
    if not isinstance(synapses, CurrentSynapses) or synapses.ports < 2:
        return weights
    port = projection.connection.port
    wrong = weights < 0 if port == 0 else weights > 0
    message = (
        f"weights to port {port} of population {projection.target} must not be {'positive' if port else 'negative'}"
    )
    return error_if(weights, wrong, f"{message}: on the chip port 0 is the excitatory input and port 1 the inhibitory.")


def dense(connection: AbstractConnection) -> Float[Array, "neurons sources"]:
    """The weights of any connection as a matrix, 0 where there is no synapse."""
    return connection.charges(jnp.arange(connection.sources)).T


def row_weights(
    weights: Float[Array, "neurons sources"], repetitions: int = 1, largest: int = BSS2.largest_weight
) -> Float[Array, "sources repetitions 2 neurons"]:
    """What stands in the rows of each source: an excitatory one, then an inhibitory one, for each of its row pairs.

    Rows hold 0 to 63, and one sign each: the weights (5, -8, 0) of a source become the rows (5, 0, 0) and (0, 8, 0).
    What exceeds the first pair goes to the next; the last one takes all that is left, since `hardware_weights` has
    clipped it.
    """
    signed = jnp.stack([weights.T, -weights.T], axis=1)
    before = largest * np.arange(repetitions, dtype=weights.dtype)
    most = jnp.full(repetitions, largest, weights.dtype).at[-1].set(jnp.inf)
    return jnp.clip(signed[:, None] - before[None, :, None, None], 0, most[None, :, None, None])
