"""NIR graphs, and what becomes of them in a framework with time steps: each node's equation by Euler's method in NumPy.

Signals are as Norse and snnTorch have them: what a node puts out in a step of length h, spikes being 1.
"""

import nir
import numpy as np

T1 = 0.05
EVENTS = [(0.002, 0), (0.004, 1), (0.011, 0), (0.012, 1), (0.02, 0), (0.026, 1), (0.027, 0)]
"""(time in s, source)."""


def cuba(size, tau_mem, tau_syn, r=1.0, v_leak=0.0, w_in=1.0, v_threshold=1.0, v_reset=0.0, kind=nir.CubaLIF):
    """One number for all neurons or one for each."""
    full = lambda x: np.broadcast_to(np.asarray(x, float), (size,)).copy()  # noqa: E731
    spiking = {} if kind is nir.CubaLI else {"v_threshold": full(v_threshold), "v_reset": full(v_reset)}
    return kind(full(tau_syn), full(tau_mem), full(r), full(v_leak), w_in=full(w_in), **spiking)


def recurrent(dt: float) -> nir.NIRGraph:
    """Two layers, of which the first hears itself, nested as snnTorch nests them, of what Norse can read."""
    hidden = cuba(3, np.array([0.02, 0.015, 0.01]), 0.005, r=2.0, w_in=0.005 / dt)
    inner = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([3])}),
            "lif": hidden,
            "w_rec": nir.Linear(np.array([[0.0, -0.8, 0.5], [0.9, 0.0, -0.4], [-0.7, 1.1, 0.0]])),
            "output": nir.Output({"output": np.array([3])}),
        },
        [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
    )
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "fc1": nir.Linear(np.array([[2.4, 1.1], [0.9, 2.0], [1.5, -0.6]])),
        "layer": inner,
        "fc2": nir.Affine(np.array([[2.2, 1.5, 0.9], [1.2, 1.6, 1.9]]), np.zeros(2)),
        "out": cuba(2, 0.02, 0.008, w_in=0.008 / dt, v_threshold=np.array([0.7, 0.9])),
        "output": nir.Output({"output": np.array([2])}),
    }
    return nir.NIRGraph(nodes, list(zip(list(nodes)[:-1], list(nodes)[1:], strict=True)))


def everything(dt: float) -> nir.NIRGraph:
    """All kinds of nodes, delays before and behind weights, leaks and biases, resets that are not 0, a branch."""
    one = lambda size: {"input": np.array([size])}  # noqa: E731
    lif = nir.LIF(
        np.array([0.02, 0.01]), np.array([0.02, 0.01]) / dt, np.array([0.3, -0.1]), np.ones(2), np.array([-0.2, 0.1])
    )
    nodes = {
        "input": nir.Input(one(2)),
        "axon": nir.Delay(np.array([0.0015, 0.003])),
        "fc": nir.Affine(np.array([[3.1, 2.4], [1.7, 3.3], [2.2, -0.9]]), np.array([0.3, 0.0, 0.2]) * dt / 0.005),
        "scale": nir.Scale(np.array([1.0, 0.8, 1.4])),
        "a": cuba(3, 0.02, 0.005, r=1.5, v_leak=np.array([0.2, 0.0, -0.1]), w_in=0.005 / dt, v_reset=-0.3),
        "w": nir.Linear(np.array([[0.85, 0.5, 0.6], [0.4, 0.93, 0.3]])),
        "dendrite": nir.Delay(np.array([0.002, 0.0])),
        "b": lif,
        "back": nir.Linear(np.array([[-1.0, 0.5], [0.8, -1.2], [0.0, 0.6]])),
        "lag": nir.Delay(np.full(3, 0.001)),
        "v": nir.Affine(np.array([[0.3, 0.2]]), np.array([0.05 * dt / 0.01])),
        "readout": nir.LI(np.array([0.01]), np.array([0.01 / dt]), np.array([0.1])),
        "u": nir.Linear(np.array([[0.4, -0.3, 0.2]])),
        "current": cuba(1, 0.02, 0.004, w_in=0.004 / dt, kind=nir.CubaLI),
        "output": nir.Output({"output": np.array([1])}),
        "output_2": nir.Output({"output": np.array([1])}),
    }
    chains = ["input axon fc scale a w dendrite b v readout output", "b back lag a", "a u current output_2"]
    return nir.NIRGraph(
        nodes, [pair for chain in chains for pair in zip(chain.split(), chain.split()[1:], strict=False)]
    )


def euler(graph: nir.NIRGraph, events, t1: float, h: float):
    """(spikes {node: [(time, neuron)]}, potentials at the end {node: v}): v begins at v_leak, currents at 0."""
    nodes, edges = flat(graph)
    state = {name: [np.zeros_like(n.v_leak), n.v_leak.copy()] for name, n in nodes.items() if hasattr(n, "v_leak")}
    lines = {name: np.zeros((round(n.delay.max() / h) + 1, n.delay.size)) for name, n in nodes.items() if is_delay(n)}
    put_out = dict.fromkeys(nodes, 0.0)
    spikes = {name: [] for name in state}
    steps = round(t1 / h)
    drive = np.zeros((steps, nodes["input"].input_type["input"][0]))
    for t, source in events:
        drive[round(t / h), source] += 1
    for step in range(steps):
        for name, node in nodes.items():  # they are listed in the order of signals; what comes back is a step late
            x = drive[step] if name == "input" else sum(put_out[a] for a, b in edges if b == name)
            if name in state:
                put_out[name] = advance(node, state[name], x, h)
                spikes[name] += [((step + 1) * h, int(k)) for k in np.flatnonzero(put_out[name])]
            elif is_delay(node):
                lines[name][step % len(lines[name])] = x
                late = (step - np.round(node.delay / h).astype(int)) % len(lines[name])
                put_out[name] = lines[name][late, np.arange(node.delay.size)]
            elif isinstance(node, nir.Scale):
                put_out[name] = node.scale * x
            else:
                weighted = node.weight @ np.broadcast_to(x, node.weight.shape[1:]) if hasattr(node, "weight") else x
                put_out[name] = weighted + getattr(node, "bias", 0.0)
    return spikes, {name: v for name, (_, v) in state.items()}


def advance(node, state, x, h):
    """One step of I and v; what is above its threshold then is reset, and 1."""
    i, v = state
    if hasattr(node, "w_in"):
        i = i + h / node.tau_syn * (node.w_in * x - i)
    current, tau = (i, node.tau_mem) if hasattr(node, "w_in") else (x, node.tau)
    v = v + h / tau * (node.v_leak - v + node.r * current)
    fired = v > node.v_threshold if hasattr(node, "v_threshold") else np.zeros(v.shape, bool)
    state[:] = i, np.where(fired, getattr(node, "v_reset", 0.0), v)
    return fired.astype(float)


def is_delay(node) -> bool:
    return isinstance(node, nir.Delay)


def flat(graph: nir.NIRGraph):
    """Nodes and edges with inner graphs in place."""
    nodes, edges, doors = {}, [], {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            nodes |= {f"{name}.{key}": inner for key, inner in node.nodes.items()}
            edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in node.edges]
            doors[name] = f"{name}.input", f"{name}.output"
        else:
            nodes[name] = node
    for a, b in graph.edges:
        edges.append((doors.get(a, (a, a))[1], doors.get(b, (b, b))[0]))
    return nodes, edges
