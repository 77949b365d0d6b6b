"""Graphs of the Neuromorphic Intermediate Representation (NIR), from files of other frameworks, as networks."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from eventprop.connections.dense import Dense
from eventprop.network import Network, Projection
from eventprop.neurons.delta import DeltaLI, DeltaLIF, DeltaState
from eventprop.neurons.li import LI, LIState
from eventprop.neurons.lif import LIF, LIFState
from eventprop.neurons.reset import ResetToValue
from eventprop.nir_export import check_units, import_nir
from eventprop.solvers.base import NetworkState

_NEURONS = ("CubaLIF", "CubaLI", "LIF", "LI")
_UNCHANGING = ("Input", "Output", "Flatten")
"""Nodes that hand on what they get. (Neurons are numbered in C order, whatever their shape.)"""
_LINEAR = ("Linear", "Affine", "Scale", "Delay")


def from_nir(graph: Any, *, dt: float | None, time_unit: float = 1e-3) -> tuple[Network, NetworkState]:
    """The network that a `nir.NIRGraph` describes, as `nir.read(path)` returns it, and the state where it starts.

        network, start = from_nir(nir.read("network.nir"), dt=1e-3)
        solution = simulate(network, spikes, 100.0, solver=Exact(max_spikes=16), state=start)

    CubaLIF, CubaLI, LIF and LI become populations of `LIF`, `LI`, `DeltaLIF` and `DeltaLI` neurons, in which

        tau_mem v' = v_leak - v + r I,   tau_syn I' = -I + w_in (W S + b)      of CubaLIF and CubaLI
        tau v' = v_leak - v + r (W S + b)                                      of LIF and LI

    read V = v, current r I, bias = v_leak + r w_in b (v_leak + r b), reset to v_reset. Every way from neurons, or from
    the Input, to neurons through Linear, Affine, Scale, Delay and Flatten nodes is a projection, of the weight
    r w_in dt / tau_syn W (r dt / tau W) and with the delays of the way. Nested graphs are unfolded. Parameters that all
    neurons of a node share become Python numbers (which no gradient reaches), others arrays [neurons]. Populations are
    numbered from the input on, and by their names where that leaves a choice. Output nodes have no counterpart.

    The state: every v at its v_leak, every I at 0, as in Norse. (A bias b that passes tau_syn takes time to rise: the
    current starts at -r w_in b beside our constant bias.) Without v_leak and b it is that of a network at rest, from
    which `simulate` starts by default.

    - `dt`: how long a spike lasts in the framework that the graph comes from, in s: its step, where S is 1 during a
      step (snnTorch exports with 1e-4); 1.0, where S is an impulse of area 1 s. None, where I jumps by w_in W (v by
      r W) whatever the time constant is.
    - `time_unit`: the unit of time of the network, in s: 1e-3 for ms.

    Raises ValueError, naming the node, for what has no counterpart: other nodes, potentials that drive neurons, more
    than one Input, weighted sums that no neurons hear, biases with dt=None. ImportError without the package nir.
    """
    nir = import_nir()
    check_units(dt, time_unit)
    if not isinstance(graph, nir.NIRGraph):
        raise ValueError(f"graph must be a nir.NIRGraph, but is a {type(graph).__name__}; nir.read(path) returns one.")
    flat = _unfold(graph)
    _check_kinds(flat)
    ways, inputs = _all_ways(flat)
    sizes = _sizes(flat, ways, inputs)
    names = _ordered(sorted(sizes, key=_natural), ways)
    populations, states = [], []
    for name in names:
        neuron, state = _population(name, flat.nodes[name], _constant(name, flat, dt), sizes[name], time_unit)
        populations.append(neuron)
        states.append(state)
    projections = []
    for way in sorted(ways, key=lambda way: (names.index(way.target), [_natural(name) for name in way.through])):
        gain = _gain(flat.nodes[way.target], dt)
        sources = inputs if way.source is None else sizes[way.source]
        connection = _connection(way, flat, sources, gain, time_unit)
        projections.append(
            Projection(None if way.source is None else names.index(way.source), names.index(way.target), connection)
        )
    return Network(populations, projections), NetworkState(tuple(states))


class _Flat(NamedTuple):
    """A graph without nesting."""

    nodes: dict[str, Any]
    follow: dict[str, list[str]]  # the nodes behind each


class _Way(NamedTuple):
    """What a signal passes from `source` (None: the Input) to `target`: through which nodes, with which effect."""

    source: str | None
    target: str
    through: tuple[str, ...] = ()
    weight: Any = None  # [out, in]; None: one to one
    before: Any = 0.0  # delay of each source, or of all, s
    after: Any = 0.0  # delay of each neuron, or of all, s


def _unfold(graph: Any, prefix: str = "") -> _Flat:
    """The graph with inner ones in place: one is entered at its Input and left at its Output."""
    flat, doors = _Flat({}, {}), {}
    for key, node in graph.nodes.items():
        name = prefix + key
        if _kind(node) != "NIRGraph":
            flat.nodes[name], flat.follow[name], doors[key] = node, [], (name, name)
            continue
        inner = _unfold(node, name + ".")
        ends = [[f"{name}.{k}" for k, n in node.nodes.items() if _kind(n) == kind] for kind in ("Input", "Output")]
        if [len(end) for end in ends] != [1, 1]:
            raise ValueError(f"graph {name!r} must have one Input and one Output, but has {ends[0]} and {ends[1]}.")
        flat.nodes.update(inner.nodes)
        flat.follow.update(inner.follow)
        doors[key] = ends[0][0], ends[1][0]
    for source, target in graph.edges:
        flat.follow[doors[source][1]].append(doors[target][0])
    return flat


def _check_kinds(flat: _Flat) -> None:
    for name, node in flat.nodes.items():
        if _kind(node) not in (*_NEURONS, *_UNCHANGING, *_LINEAR):
            raise ValueError(f"node {name!r} is of the kind {_kind(node)}, which has no counterpart here.")


def _all_ways(flat: _Flat) -> tuple[list[_Way], int]:
    """The ways between neurons, and from the Input to them; the number of input sources."""
    reached = {target for targets in flat.follow.values() for target in targets}
    starts = [name for name, node in flat.nodes.items() if _kind(node) == "Input" and name not in reached]
    if len(starts) != 1:
        raise ValueError(f"the graph must have one Input, but has {len(starts)}: {starts}.")
    ways = [way._replace(source=None) for way in _ways(starts[0], flat)]
    for name, node in flat.nodes.items():
        found = list(_ways(name, flat)) if _kind(node) in _NEURONS else []
        if found and _kind(node) in ("LI", "CubaLI"):
            raise ValueError(
                f"node {name!r}, a {_kind(node)}, drives {found[0].target!r} by its potential, not by spikes."
            )
        ways += found
    return ways, int(np.prod(flat.nodes[starts[0]].input_type["input"]))


def _ways(start: str, flat: _Flat) -> Iterator[_Way]:
    """All ways from a node to neurons."""
    ready = [_Way(start, name) for name in flat.follow[start]]
    while ready:
        way = ready.pop()
        name, node = way.target, flat.nodes[way.target]
        if _kind(node) in _NEURONS:
            yield way
            continue
        if name in way.through:
            raise ValueError(f"node {name!r} is in a cycle without neurons.")
        way = _passed(way, node)._replace(through=(*way.through, name))
        if not flat.follow[name] and any(_kind(flat.nodes[passed]) in _LINEAR for passed in way.through):
            raise ValueError(
                f"node {name!r} ends a weighted sum of spikes that no neurons hear: add LI or LIF neurons."
            )
        ready += [way._replace(target=after) for after in flat.follow[name]]


def _passed(way: _Way, node: Any) -> _Way:
    """The way beyond a node."""
    if _kind(node) == "Delay":
        delay = _shared(node.delay)
        return way._replace(before=way.before + delay) if way.weight is None else way._replace(after=way.after + delay)
    if _kind(node) == "Scale":
        scale = np.ravel(_array(node.scale))
        return way._replace(weight=np.diag(scale) if way.weight is None else scale[:, None] * way.weight)
    if _kind(node) in ("Linear", "Affine"):
        weight = _array(node.weight)
        if weight.ndim != 2:
            raise ValueError(f"node {way.target!r} has a weight of the shape {weight.shape}: it must be [out, in].")
        if np.ndim(way.after):
            raise ValueError(f"node {way.target!r} adds up weighted spikes that have different delays.")
        weight = weight if way.weight is None else weight @ way.weight
        return way._replace(weight=weight, before=way.before + way.after, after=0.0)
    return way


def _sizes(flat: _Flat, ways: list[_Way], inputs: int) -> dict[str, int]:
    """The number of neurons of each population; some frameworks give a node one parameter for all of its neurons."""
    sizes = {name: np.size(node.v_leak) for name, node in flat.nodes.items() if _kind(node) in _NEURONS}
    for _ in range(len(sizes)):  # one-to-one ways hand sizes on
        for way in ways:
            sources = inputs if way.source is None else sizes[way.source]
            size = sources if way.weight is None else len(way.weight)
            if sizes[way.target] != size and 1 not in (sizes[way.target], sources if way.weight is None else 0):
                raise ValueError(
                    f"node {way.target!r} has {sizes[way.target]} neurons, but signals for {size} reach it."
                )
            sizes[way.target] = max(size, sizes[way.target])
    return sizes


def _ordered(names: list[str], ways: list[_Way]) -> list[str]:
    """Neurons in the order in which signals come to them, and in that of their names where they form circles."""
    reaches = {name: {name} for name in names}
    for _ in names:
        for way in ways:
            if way.source is not None:
                reaches[way.source] |= reaches[way.target]
    ordered: list[str] = []
    while len(ordered) < len(names):
        waiting = [name for name in names if name not in ordered]
        ordered.append(
            next(name for name in waiting if all(other in reaches[name] for other in waiting if name in reaches[other]))
        )
    return ordered


def _constant(name: str, flat: _Flat, dt: float | None) -> np.ndarray:
    """The sum of the biases that Affine nodes add to what a neuron hears."""
    total = np.zeros(())
    for start, node in flat.nodes.items():
        if _kind(node) != "Affine" or not np.any(_array(node.bias)):
            continue
        for way in _ways(start, flat):
            if way.target != name:
                continue
            if dt is None:
                raise ValueError(f"node {start!r} has a bias, which acts for as long as a step: give dt, in s.")
            if np.any(way.before) or np.any(way.after):
                raise ValueError(f"node {start!r} has a bias, which a Delay behind it would let start late.")
            bias = np.ravel(_array(node.bias))
            total = total + (bias if way.weight is None else way.weight @ bias)
    return total


def _gain(node: Any, dt: float | None) -> Any:
    """By how much I (v) jumps per unit of S, one number or one for each neuron."""
    if _kind(node) in ("CubaLIF", "CubaLI"):
        jump, tau = _shared(node.r) * _shared(node.w_in), _shared(node.tau_syn)
    else:
        jump, tau = _shared(node.r), _shared(node.tau)
    return jump if dt is None else jump * dt / tau


def _population(name: str, node: Any, constant: np.ndarray, size: int, time_unit: float) -> tuple[Any, Any]:
    """The neurons of a node, and their state at the beginning."""
    cuba = _kind(node) in ("CubaLIF", "CubaLI")
    leak, drive = _shared(node.v_leak), _shared(node.r) * constant * (_shared(node.w_in) if cuba else 1.0)
    parameters = {"tau_mem": _shared(node.tau_mem if cuba else node.tau) / time_unit, "bias": leak + drive}
    if cuba:
        parameters["tau_syn"] = _shared(node.tau_syn) / time_unit
    if hasattr(node, "v_threshold"):
        parameters["threshold"] = _shared(node.v_threshold)
    parameters = {field: _number(value) for field, value in parameters.items()}
    v, i = (jnp.broadcast_to(jnp.asarray(x, float), (size,)) for x in (leak, -drive))
    try:
        if not hasattr(node, "v_threshold"):
            return (LI(**parameters), LIState(v, i)) if cuba else (DeltaLI(**parameters), DeltaState(v))
        reset = ResetToValue(_number(_shared(node.v_reset)))
        if cuba:
            return LIF(**parameters, reset=reset), LIFState.free(v, i)
        return DeltaLIF(**parameters, reset=reset), DeltaState(v)
    except ValueError as error:
        raise ValueError(f"node {name!r}: {error}") from error


def _connection(way: _Way, flat: _Flat, sources: int, gain: Any, time_unit: float) -> Dense:
    weight = (np.eye(sources) if way.weight is None else way.weight) * np.reshape(gain, (-1, 1))
    if all(_kind(flat.nodes[name]) != "Delay" for name in way.through):
        return Dense(jnp.asarray(weight, float))
    after = np.reshape(way.after, (-1, 1)) if np.ndim(way.after) else way.after  # one per neuron: all its synapses
    delay = np.broadcast_to(way.before + after, weight.shape) if np.ndim(way.after) else _shared(way.before + after)
    return Dense(jnp.asarray(weight, float), delay=_number(delay / time_unit))


def _kind(node: Any) -> str:
    return type(node).__name__


def _natural(name: str) -> list[tuple[int, Any]]:
    """Sorts neurons_2 before neurons_10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]


def _array(value: Any) -> np.ndarray:
    """An array of NumPy, PyTorch or whatever else frameworks put into nodes."""
    return np.asarray(value, np.float64)


def _shared(value: Any) -> Any:
    """One number, if all neurons share it, else one for each."""
    value = np.ravel(_array(value))
    return value[0] if np.all(value == value[:1]) else value


def _number(value: Any) -> Any:
    """The same, as a parameter: a Python number is a constant, an array is learned."""
    return float(value) if np.ndim(value) == 0 else jnp.asarray(value, float)
