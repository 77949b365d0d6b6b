"""A system without targets over a whole trial."""

from typing import Any

from jaxtyping import Array, Float, PyTree

from gle.network import Network
from gle.signals import State
from gle.streams import over_a_stream
from gle.system import AbstractSystem


@over_a_stream
def infer(
    network: AbstractSystem,
    inputs: Float[Array, "time *batch sources"],
    *,
    dt: float | Float[Array, ""],
    u: Any = None,
) -> tuple[Float[Array, "time *batch outputs"], PyTree]:
    """Outputs at every step (of a `Network` its prospective potentials), and the potentials after the last one.

    Forward Euler from the potentials `u` of each layer (default: zero): the same as `online` without targets and with
    `Step()`, to rounding; a `Network` takes all steps at once, in depth log(time) (section 5.5). Of another system `u`
    is the whole state.

    Raises ValueError for inputs whose shape does not fit the network, and for a dt that is not positive.
    """
    start = network.init(inputs.shape[1:-1])
    if not isinstance(network, Network):
        return network.course(inputs, dt, start if u is None else u)
    outputs, last = network.course(inputs, dt, start if u is None else State(u, start.v))
    return outputs, last.u
