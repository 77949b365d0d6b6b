"""Networks as graphs of the Neuromorphic Intermediate Representation (NIR), which other frameworks read."""

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np

from eventprop.connections.base import AbstractConnection
from eventprop.connections.dense import Dense
from eventprop.network import AbstractNetwork
from eventprop.neurons.delta import DeltaLI, DeltaLIF
from eventprop.neurons.li import LI
from eventprop.neurons.lif import LIF
from eventprop.neurons.reset import ResetToValue
from eventprop.parameters import check_positive, check_type


def to_nir(network: AbstractNetwork, *, dt: float | None, time_unit: float = 1e-3) -> Any:
    """A network as a `nir.NIRGraph`, which `nir.write(path, graph)` keeps in a file (Pedersen et al. 2024).

    With V, I, bias and weight W as here, time constants in s, and S the spikes,

        LIF:       CubaLIF   tau_mem v' = v_leak - v + r I,   tau_syn I' = -I + w_in W S,   v_leak = bias
        LI:        CubaLI    the same without threshold
        DeltaLIF:  LIF       tau v' = v_leak - v + r W S,     v_leak = bias
        DeltaLI:   LI        the same without threshold

    Connections become Linear, `Conv` and `Sparse` with all the zeros of the matrix; a delay becomes a Delay before it
    (behind it, if there is one per neuron). Reset by subtraction is v_reset = 0, since V is at the threshold when a
    `LIF` neuron fires. Populations are called neurons_0, neurons_1, ...; those that drive no other one end on an
    Output. NIR has no initial state: we begin at v = 0, I = 0.

    - `dt`: how long a spike lasts in the framework that will run the graph, in s: its step, where S is 1 during a step;
      1.0, where S is an impulse of area 1 s. Then w_in = tau_syn / dt (LIF, LI of NIR: r = tau / dt), so that I (V)
      jumps by W. None, for frameworks in which I jumps by w_in W whatever tau_syn is: w_in = 1 (r = 1).
    - `time_unit`: the network's unit of time, in s: 1e-3 if that is ms.

    Raises ValueError for what NIR cannot say: other neurons, refractory periods, receptors besides port 0, reset by
    subtraction of `DeltaLIF`, delays per synapse that are no delays per source or neuron. ImportError without the
    package nir.
    """
    nir = import_nir()
    check_type("network", network, AbstractNetwork)
    check_units(dt, time_unit)
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([network.inputs])})}
    edges: list[tuple[str, str]] = []
    names = [f"neurons_{number}" for number in range(len(network.neurons))]
    for number, (neuron, size) in enumerate(zip(network.neurons, network.sizes, strict=True)):
        nodes[names[number]] = _neuron_node(nir, number, neuron, size, dt, time_unit)
    for number, p in enumerate(network.projections):
        way = _synapse_nodes(nir, number, p.connection, time_unit)
        nodes.update(way)
        stations = ["input" if p.source is None else names[p.source], *way, names[p.target]]
        edges += itertools.pairwise(stations)
    sending = {p.source for p in network.projections if p.source != p.target}
    ends = [number for number in range(len(names)) if number not in sending] or [len(names) - 1]
    for number in ends:
        name = "output" if len(ends) == 1 else f"output_{number}"
        nodes[name] = nir.Output({"output": np.array([network.sizes[number]])})
        edges.append((names[number], name))
    return nir.NIRGraph(nodes, edges)


def import_nir() -> Any:
    """The package nir. Raises ImportError, with the remedy, where it is missing."""
    try:
        import nir
    except ImportError as error:
        raise ImportError("NIR graphs need the package nir: pip install 'credax[nir]'.") from error
    return nir


def check_units(dt: Any, time_unit: Any) -> None:
    """Raise ValueError for durations that are not positive."""
    check_positive("time_unit", time_unit, "it is the unit of time in s, 1e-3 for ms")
    if dt is not None:
        check_positive("dt", dt, "it is how long a spike lasts, in s")


def _neuron_node(nir: Any, number: int, neuron: Any, size: int, dt: float | None, time_unit: float) -> Any:
    def each(value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, np.float64), (size,)).copy()

    if type(neuron) not in (LIF, LI, DeltaLIF, DeltaLI):
        name = type(neuron).__name__
        raise ValueError(f"layer {number}: NIR has no {name} neurons; it has LIF, LI, DeltaLIF and DeltaLI.")
    if isinstance(neuron, LIF) and neuron.refractory is not None:
        raise ValueError(f"layer {number}: refractory is {neuron.refractory}, but NIR has no such period; use None.")
    tau_mem, v_leak, one = each(neuron.tau_mem) * time_unit, each(neuron.bias), each(1.0)
    spiking = _threshold(number, neuron, each) if isinstance(neuron, LIF | DeltaLIF) else {}
    if isinstance(neuron, LIF | LI):
        tau_syn = each(neuron.tau_syn) * time_unit
        kind, w_in = nir.CubaLIF if spiking else nir.CubaLI, one if dt is None else tau_syn / dt
        return kind(tau_syn=tau_syn, tau_mem=tau_mem, r=one, v_leak=v_leak, w_in=w_in, **spiking)
    kind, r = nir.LIF if spiking else nir.LI, one if dt is None else tau_mem / dt
    return kind(tau=tau_mem, r=r, v_leak=v_leak, **spiking)


def _threshold(number: int, neuron: Any, each: Any) -> dict[str, np.ndarray]:
    subtracts = not isinstance(neuron.reset, ResetToValue)
    if subtracts and isinstance(neuron, DeltaLIF):
        raise ValueError(
            f"layer {number}: reset is {neuron.reset}, but NIR resets to a value, and arrivals lift DeltaLIF neurons "
            "beyond their threshold; use ResetToValue(0.0)."
        )
    return {"v_threshold": each(neuron.threshold), "v_reset": each(0.0 if subtracts else neuron.reset.value)}


def _synapse_nodes(nir: Any, number: int, connection: AbstractConnection, time_unit: float) -> dict[str, Any]:
    """The nodes of one projection, in the order in which spikes pass them."""
    if connection.port != 0:
        raise ValueError(f"projection {number}: its port is {connection.port}, but neurons of NIR have only port 0.")
    weight = np.asarray(connection.weight)
    if not isinstance(connection, Dense):
        weight = np.asarray(connection.project(jnp.eye(connection.sources, dtype=weight.dtype))).T
    before, after = (x if x is None else nir.Delay(x * time_unit) for x in _delays(number, connection))
    nodes = {f"delay_{number}": before, f"synapses_{number}": nir.Linear(weight), f"delay_{number}_": after}
    return {name: node for name, node in nodes.items() if node is not None}


def _delays(number: int, connection: AbstractConnection) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(delay of each source, delay of each neuron): one of them, or none."""
    if connection.delay is None:
        return None, None
    delay = np.asarray(connection.delay, np.float64)
    if not connection.per_synapse:
        return np.broadcast_to(delay, (connection.sources,)).copy(), None
    if isinstance(connection, Dense) and np.all(delay == delay[:1]):
        return delay[0], None
    if isinstance(connection, Dense) and np.all(delay == delay[:, :1]):
        return None, delay[:, 0]
    raise ValueError(
        f"projection {number}: it has a delay per synapse, but NIR delays all spikes of a source, or all that reach a "
        f"neuron; give one delay, or one per source, ({connection.sources},)."
    )
