"""How time and compile time grow: `python -m benchmarks.speed.scaling`; see docs/results/speed.md.

One layer of LIF neurons, loss = sum of all spike times; its value and the gradient by the weights are timed. Numbers
and figures go to results/speed/.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes

import eventprop as ep
from benchmarks import style
from benchmarks.speed import record
from benchmarks.speed.problem import TAU_MEM, TAU_SYN, THRESHOLD

REPEATS = 7
T_LATEST = 30.0
"""Latest input spike, ms."""


@dataclass(frozen=True)
class Load:
    """One setting: sources that spike once each, neurons, most spikes of a neuron, trials, and their end in ms."""

    inputs: int = 32
    neurons: int = 128
    max_spikes: int = 4
    batch: int = 32
    duration: float = 100.0


@dataclass(frozen=True)
class Cost:
    """What a setting costs; `memory` is what the compiled program needs beside inputs and outputs, in bytes."""

    step_ms: float
    compile_s: float
    memory: int
    spikes_per_neuron: float


AXES: dict[str, Sequence[int]] = {
    "inputs": (8, 32, 128, 512),
    "neurons": (16, 64, 256, 1024),
    "max_spikes": (4, 16, 64, 128),
    "batch": (1, 8, 64, 512),
}


def measure(load: Load) -> Cost:
    """Compile and time one setting. Raises `RuntimeError` if a spike is lost."""
    random = np.random.default_rng(0)
    times = np.sort(random.uniform(0, T_LATEST, (load.batch, load.inputs)), axis=1)
    index = np.argsort(random.random((load.batch, load.inputs)), axis=1)
    trials = jax.vmap(ep.Spikes)(jnp.asarray(times, jnp.float32), jnp.asarray(index, jnp.int32))
    # Without a leak the inputs would lift the potential to max_spikes thresholds, so a few spikes less are fired.
    mean = load.max_spikes * THRESHOLD * TAU_MEM / TAU_SYN / load.inputs
    weights = jnp.asarray(random.normal(mean, 0.1 * mean, (load.inputs, load.neurons)).T, jnp.float32)
    solver = ep.Exact(max_spikes=load.max_spikes + load.max_spikes // 8)  # weights vary
    neuron = ep.LIF(tau_mem=TAU_MEM, tau_syn=TAU_SYN, threshold=THRESHOLD)

    def loss(weights: Array, trials: ep.Spikes) -> tuple[Array, tuple[Array, Array]]:
        network = ep.FeedForward([(ep.Dense(weights), neuron)])

        def run(trial: ep.Spikes) -> tuple[Array, Array]:
            solution = ep.simulate(network, trial, load.duration, solver=solver, throw=False)
            (trains,) = solution.spikes
            assert trains is not None
            return trains.times, solution.stats["spikes_lost"]

        times, lost = jax.vmap(run)(trials)
        fired = times < jnp.inf
        return jnp.sum(jnp.where(fired, times, 0)), (jnp.sum(fired), jnp.sum(lost))

    start = time.perf_counter()
    step = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(weights, trials).compile()
    compile_s = time.perf_counter() - start
    (_, (fired, lost)), _ = jax.block_until_ready(step(weights, trials))
    if lost > 0:
        raise RuntimeError(f"{load}: {lost} spikes lost.")
    durations = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(step(weights, trials))
        durations.append(time.perf_counter() - start)
    memory = step.memory_analysis()
    return Cost(
        step_ms=1e3 * float(np.median(durations)),
        compile_s=compile_s,
        memory=0 if memory is None else int(memory.temp_size_in_bytes),
        spikes_per_neuron=float(fired) / (load.batch * load.neurons),
    )


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Exponent of the power law that fits best."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def draw_times(rows: dict[str, list[tuple[float, Cost]]]) -> None:
    """Four panels, time and compile time against inputs, neurons, spikes and batch; prints the slopes."""
    figure, panels = plt.subplots(2, 2, figsize=(style.PAGE, 5.0))
    for panel, (axis, row) in zip(panels.flat, rows.items(), strict=True):
        x = [value for value, _ in row]
        for label, y, line in (
            ("step (ms)", [cost.step_ms for _, cost in row], "o-"),
            ("compile (s)", [cost.compile_s for _, cost in row], "s--"),
        ):
            exponent = slope(x, y)
            print(f"{label:12} ~ {axis} ^ {exponent:.2f}")
            _draw(panel, x, y, line, f"{label}, slope {exponent:.2f}")
        panel.set_xlabel(axis)
    figure.savefig(record.RESULTS / "scaling.png")


def _draw(panel: Axes, x: Sequence[float], y: Sequence[float], line: str, label: str) -> None:
    panel.loglog(x, y, line, label=label)
    panel.legend()
    panel.grid(alpha=0.3)


def main() -> None:
    """Measure all axes, print the slopes, write scaling.json and scaling.png."""
    costs: dict[Load, Cost] = {}

    def row(axis: str, values: Sequence[float]) -> list[tuple[float, Cost]]:
        loads = [replace(Load(), **{axis: value}) for value in values]
        for load in loads:
            if load not in costs:
                costs[load] = measure(load)
                print(load, costs[load], flush=True)
        return [(value, costs[load]) for value, load in zip(values, loads, strict=True)]

    rows = {axis: row(axis, values) for axis, values in AXES.items()}
    by_spikes = [(cost.spikes_per_neuron, cost) for _, cost in rows.pop("max_spikes")]
    rows = {
        "inputs": rows["inputs"],
        "neurons": rows["neurons"],
        "spikes per neuron": by_spikes,
        "batch": rows["batch"],
    }
    measured = [{"load": asdict(load), "cost": asdict(cost)} for load, cost in costs.items()]
    record.write("scaling", measured=measured)
    with style.paper():
        draw_times(rows)


if __name__ == "__main__":
    main()
