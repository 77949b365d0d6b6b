"""A network without errors over a whole trial: all time steps at once, layer after layer (section 5.5).

With constant weights a layer is a diagonal linear state-space model followed by phi (Eqs. 40, 41),

    u' = (-u + I) / tau_m,    D+ u = (1 - alpha) u + alpha I,    I = W r + b,    alpha = tau_r / tau_m,

so its potentials over the trial are one matrix product and one associative scan, instead of a loop over time.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gle.connections import over_batch
from gle.network import Network, Rates
from gle.operators import leaky_integral
from gle.streams import over_a_stream


@over_a_stream
def infer(
    network: Network,
    inputs: Float[Array, "time *batch sources"],
    *,
    dt: float | Float[Array, ""],
    u: tuple[Rates, ...] | None = None,
) -> tuple[Float[Array, "time *batch outputs"], tuple[Rates, ...]]:
    """Prospective potentials of the outputs at every step, and the membrane potentials after the last one.

    Forward Euler from the potentials `u` (default: zero): the same as `online` without targets and with `Step()`, to
    rounding, in depth log(time).

    Raises ValueError for inputs whose shape does not fit the network, and for a dt that is not positive.
    """
    u = network.init(inputs.shape[1:-1]).u if u is None else u
    rates, potentials, last = inputs, inputs, []
    for layer, start in zip(network.layers, u, strict=True):
        drive = layer.connection(rates)
        step = over_batch(dt / layer.tau_m, drive)
        lost = jnp.broadcast_to(step, drive.shape)
        added = (step * drive).at[:1].add((1 - step) * start[None])
        course = jnp.concatenate([start[None], leaky_integral(lost, added)])
        before = course[:-1]
        potentials = before + over_batch(layer.tau_r / layer.tau_m, drive) * (drive - before)
        rates = layer.activation(potentials)
        last.append(course[-1])
    return potentials, tuple(last)
