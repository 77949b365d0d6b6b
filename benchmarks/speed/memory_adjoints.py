"""Memory of three backward passes, any neuron: `python -m benchmarks.speed.memory_adjoints`; see docs/results.

What the compiled value and gradient need beside inputs and outputs: `EventProp` and `Implicit` on `Hybrid`, `Surrogate`
on `Grid`, for a recurrent ALIF network whose trials have the same spikes, against the length of a trial and the number
of neurons. Writes memory_adjoints.json and memory_adjoints.png to results/speed/.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Array

import eventprop as ep
from benchmarks import style
from benchmarks.speed import record
from benchmarks.speed.scaling import slope
from benchmarks.table import markdown_table

TAU_MEM, TAU_SYN, TAU_ADAPTATION = 20.0, 5.0, 100.0
LARGEST_STEP, DT = 5.0, 0.5
INPUTS, DRIVEN = 32, 32
"""Sources, which spike once each in the first 20 ms, and neurons that hear them: others have no part in any spike."""
LOOK = 30.0
"""The loss is on potentials at this time."""


@dataclass(frozen=True)
class Load:
    """Neurons, the end of a trial in ms, trials."""

    neurons: int = 128
    duration: float = 100.0
    batch: int = 8

    @property
    def steps(self) -> int:
        """What `Hybrid` has room for: steps and events."""
        return 256 + math.ceil(1.25 * self.duration / LARGEST_STEP)


AXES = {"duration": (100.0, 1000.0, 10000.0), "neurons": (32, 128, 512)}
METHODS = ("EventProp", "Implicit", "Surrogate")


def network(load: Load) -> ep.Recurrent:
    """All neurons hear all; the inputs drive the first ones to fire once or twice."""
    weight = np.zeros((load.neurons, INPUTS), np.float32)
    weight[:DRIVEN] = np.random.default_rng(0).normal(0.3, 0.1, (DRIVEN, INPUTS))
    lateral = np.zeros((load.neurons, load.neurons), np.float32)
    adaptation = ep.AdaptiveThreshold(0.5, TAU_ADAPTATION)
    neuron = ep.ALIF(tau_mem=TAU_MEM, synapses=ep.CurrentSynapses((TAU_SYN,)), adaptation=adaptation)
    return ep.Recurrent([(ep.Dense(weight), neuron, ep.Dense(lateral))])


def trials(load: Load) -> ep.Spikes:
    """The same inputs in all of them."""
    times = jnp.linspace(0.0, 20.0, INPUTS, dtype=jnp.float32)
    one = ep.Spikes(times, jnp.arange(INPUTS, dtype=jnp.int32))
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (load.batch, INPUTS)), one)


def simulate(method: str, load: Load, network: ep.Recurrent, spikes: ep.Spikes) -> ep.Solution:
    """One trial."""
    save: Any = diffrax.SaveAt(ts=jnp.array([LOOK], jnp.float32))
    if method == "Surrogate":
        solver, adjoint = ep.Grid(DT, 4), ep.Surrogate()
    else:
        solver = ep.Hybrid(jnp.float32(LARGEST_STEP), 4, load.steps, 4 * DRIVEN)
        adjoint = ep.EventProp() if method == "EventProp" else ep.Implicit()
    return ep.simulate(network, spikes, load.duration, solver=solver, adjoint=adjoint, saveat=save, throw=False)


def value_and_gradient(method: str, load: Load) -> Any:
    """Of the sum of squared potentials, by both weights."""

    def loss(network: ep.Recurrent, spikes: ep.Spikes) -> Array:
        def trial(spikes: ep.Spikes) -> Array:
            ys = simulate(method, load, network, spikes).ys
            assert ys is not None  # they are asked for
            return jnp.sum(ys[0] ** 2)

        return jnp.sum(jax.vmap(trial)(spikes))

    return jax.jit(jax.value_and_grad(loss))


def measure(method: str, load: Load) -> int:
    """In bytes. The program is compiled and not run: arrays have the size of what there is room for."""
    found = value_and_gradient(method, load).lower(network(load), trials(load)).compile().memory_analysis()
    return 0 if found is None else int(found.temp_size_in_bytes)


def draw(found: dict[tuple[str, str], list[tuple[float, int]]]) -> None:
    """A panel for each axis, a line for each method."""
    figure, panels = plt.subplots(1, 2, figsize=(0.8 * style.PAGE, 2.4), sharey=True)
    for (method, axis), row in found.items():
        panel = panels[list(AXES).index(axis)]
        x, y = zip(*row, strict=True)
        mebibytes = [size / 2**20 for size in y]
        panel.loglog(x, mebibytes, "o-", label=f"{method}, last slope {slope(x[-2:], mebibytes[-2:]):.2f}")
    for panel, name, values in zip(
        panels, ("trial (ms), same spikes", "neurons, same spikes"), AXES.values(), strict=True
    ):
        panel.set_xlabel(name)
        panel.set_xticks(values, [f"{value:g}" for value in values])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.legend()
    panels[0].set_ylabel("memory of the gradient (MiB)")
    figure.savefig(record.RESULTS / "memory_adjoints.png")


def _row(method: str, axis: str, values: Sequence[float]) -> tuple[list[tuple[float, int]], list[dict]]:
    points, rows = [], []
    for value in values:
        load = replace(Load(), **{axis: value})
        size = measure(method, load)
        points.append((value, size))
        rows.append({"method": method, "axis": axis, "value": value, "bytes": size, "load": asdict(load)})
        print(method, axis, value, f"{size / 2**20:.2f} MiB", flush=True)
    return points, rows


def main() -> None:
    """Measure all, print a table, write memory_adjoints.json and memory_adjoints.png."""
    found, measured = {}, []
    for method in METHODS[::-1]:
        for axis, values in AXES.items():
            found[method, axis], rows = _row(method, axis, values)
            measured += rows
    record.write("memory_adjoints", measured=measured)
    with style.paper():
        draw(found)
    cells = [
        [method, axis, ", ".join(f"{x:g}: {y / 2**20:.3g}" for x, y in values)]
        for (method, axis), values in found.items()
    ]
    print(markdown_table(["adjoint", "axis", "MiB"], cells))


if __name__ == "__main__":
    main()
