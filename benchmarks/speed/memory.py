"""Memory of the backward pass: `python -m benchmarks.speed.memory`; see docs/results/speed.md.

What the compiled value and gradient need beside inputs and outputs, against spikes, inputs and the length of the trial:
for a layer (that of `scaling`) and for a recurrent one with delays, whose arrays have room for so many spikes. Writes
memory.json and memory.png to results/speed/.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Array

import eventprop as ep
from benchmarks import style
from benchmarks.speed import record, scaling
from benchmarks.speed.problem import TAU_MEM, TAU_SYN, THRESHOLD
from benchmarks.table import markdown_table

DELAY = 1.5


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer: sources that spike once each, neurons, room for spikes, trials, and their end in ms."""

    inputs: int = 32
    neurons: int = 128
    spikes: int = 256
    batch: int = 32
    duration: float = 100.0


LAYER = {"max_spikes": (4, 16, 64, 128), "inputs": (32, 128, 512, 2048), "duration": (100.0, 1000.0, 10000.0)}
"""`max_spikes`: those of a neuron, 128 neurons."""
RECURRENT = {"spikes": (64, 256, 1024, 4096), "inputs": (32, 128, 512, 2048), "duration": (100.0, 1000.0, 10000.0)}


def of_layer(load: scaling.Load) -> int:
    """In bytes. The spikes are there, and none is lost."""
    return scaling.measure(load).memory


def of_recurrent(load: Recurrent) -> int:
    """In bytes. The program is compiled and not run: arrays have the size of what there is room for."""
    lif, solver = ep.LIF(TAU_MEM, TAU_SYN, THRESHOLD), ep.Exact(32, max_events=load.spikes, max_in_flight=64)
    weights = [np.zeros((load.neurons, n), np.float32) for n in (load.inputs, load.neurons)]

    def loss(weights: list[Array], trials: ep.Spikes) -> Array:
        network = ep.Recurrent([(ep.Dense(weights[0]), lif, ep.Dense(weights[1], delay=jnp.float32(DELAY)))])

        def trial(spikes: ep.Spikes) -> Array:
            (trains,) = ep.simulate(network, spikes, load.duration, solver=solver, throw=False).spikes
            assert trains is not None
            return jnp.sum(jnp.where(trains.times < jnp.inf, trains.times, 0))

        return jnp.sum(jax.vmap(trial)(trials))

    shape = load.batch, load.inputs
    trials = ep.Spikes(jnp.zeros(shape, jnp.float32), jnp.zeros(shape, jnp.int32))
    found = jax.jit(jax.value_and_grad(loss)).lower(weights, trials).compile().memory_analysis()
    return 0 if found is None else int(found.temp_size_in_bytes)


def draw(found: dict[tuple[str, str], list[tuple[float, int]]]) -> None:
    """A panel for each axis, a line for each kind of network."""
    figure, panels = plt.subplots(1, 3, figsize=(style.PAGE, 2.4), sharey=True)
    for (network, axis), row in found.items():
        panel = panels[{"inputs": 1, "duration": 2}.get(axis, 0)]
        x, y = zip(*row, strict=True)
        mebibytes = [size / 2**20 for size in y]
        last = round(scaling.slope(x[-2:], mebibytes[-2:]), 2) + 0.0  # no -0.00
        panel.loglog(x, mebibytes, "o-", label=f"{network}, last slope {last:.2f}")
    for panel, name in zip(panels, ("spikes of a trial", "inputs", "trial (ms), same spikes"), strict=True):
        panel.set_xlabel(name)
        panel.grid(alpha=0.3)
        panel.legend(loc="lower left", bbox_to_anchor=(0, 1))
    panels[0].set_ylabel("memory of the gradient (MiB)")
    figure.savefig(record.RESULTS / "memory.png")


def main() -> None:
    """Measure all, print a table, write memory.json and memory.png."""
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}

    def row(network: str, axis: str, values: Sequence[float]) -> None:
        found[network, axis] = []
        for value in values:
            if network == "layer":
                load = replace(scaling.Load(), **{axis: value})
                x, memory = value * load.neurons if axis == "max_spikes" else value, of_layer(load)
            else:
                load = replace(Recurrent(), **{axis: value})
                x, memory = value, of_recurrent(load)
            found[network, axis].append((x, memory))
            measured.append({"network": network, "axis": axis, "value": x, "bytes": memory, "load": asdict(load)})
            print(network, axis, x, f"{memory / 2**20:.1f} MiB", flush=True)

    measured: list[dict] = []
    for network, axes in (("layer", LAYER), ("recurrent", RECURRENT)):
        for axis, values in axes.items():
            row(network, axis, values)
    record.write("memory", measured=measured)
    with style.paper():
        draw(found)
    cells = [
        [network, axis, ", ".join(f"{x:g}: {y / 2**20:.3g}" for x, y in values)]
        for (network, axis), values in found.items()
    ]
    print(markdown_table(["network", "axis", "MiB"], cells))


if __name__ == "__main__":
    main()
