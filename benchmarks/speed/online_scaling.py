"""How the time of an online step grows: `python -m benchmarks.speed.online_scaling`; see docs/results/speed.md.

Width, depth, batch, and the number of seeds side by side, vmapped and sharded over two host devices. Prints a table
and writes results/speed/online_scaling.json.
"""

import time
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.speed import record
from benchmarks.speed.online_problem import OnlineProblem
from benchmarks.speed.online_race import peak_flops
from benchmarks.speed.scaling import slope
from benchmarks.speed.with_credax_online import advance, start
from benchmarks.table import markdown_table

REPEATS = 7
STEPS = 40


@dataclass(frozen=True)
class Load:
    """One setting; `width` is the number of neurons of each of the three populations of a layer."""

    width: int = 30
    layers: int = 6
    batch: int = 100
    seeds: int = 1
    devices: int = 1


AXES = {"width": (10, 30, 90, 270), "layers": (2, 6, 18), "batch": (10, 100, 1000), "seeds": (1, 8, 64)}


def measure(load: Load) -> float:
    """Milliseconds per step of all seeds together."""
    problem = OnlineProblem.make((load.width,) * 3, load.layers, load.batch)
    inputs, target, position = jnp.asarray(problem.inputs), jnp.asarray(problem.target), jnp.asarray(0)
    learner = start(problem)
    run = eqx.filter_jit(lambda learner: advance(learner, inputs, target, STEPS, position))
    if load.seeds > 1:
        run = eqx.filter_jit(eqx.filter_vmap(lambda learner: advance(learner, inputs, target, STEPS, position)))
        arrays, rest = eqx.partition(learner, eqx.is_array)
        arrays = jax.tree.map(lambda x: jnp.repeat(x[None], load.seeds, axis=0), arrays)
        mesh = jax.sharding.Mesh(np.array(jax.devices()[: load.devices]), ("seeds",))
        arrays = jax.device_put(arrays, jax.NamedSharding(mesh, jax.P("seeds")))
        learner = eqx.combine(arrays, rest)
    jax.block_until_ready(run(learner))
    durations = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        jax.block_until_ready(run(learner))
        durations.append(time.perf_counter() - begin)
    return 1e3 * float(np.median(durations)) / STEPS


def main() -> None:
    """Measure all axes; the last rows share the seeds out among two devices."""
    jax.config.update("jax_num_cpu_devices", 2)
    peak = peak_flops()
    rows, measured = [], []
    loads = {axis: [Load(**{axis: value}) for value in values] for axis, values in AXES.items()}
    loads["seeds, two devices"] = [Load(seeds=8, devices=2), Load(seeds=64, devices=2)]
    for axis, row in loads.items():
        times = [measure(load) for load in row]
        values = [getattr(load, axis.split(",")[0]) for load in row]
        flops = [load.seeds * OnlineProblem.make((load.width,) * 3, load.layers, load.batch).flop for load in row]
        for load, value, milliseconds, flop in zip(row, values, times, flops, strict=True):
            floor = 1e3 * flop / peak
            rows.append([axis, str(value), f"{milliseconds:.3g}", f"{floor:.3g}", f"{milliseconds / floor:.1f}"])
            measured.append({**vars(load), "step_ms": milliseconds, "flop": flop})
            print(*rows[-1], sep="\t", flush=True)
        print(f"time ~ {axis} ^ {slope(values, times):.2f}", flush=True)
    print(markdown_table(["axis", "value", "step ms", "floor ms", "ratio"], rows))
    record.write("online_scaling", peak_flops=peak, measured=measured)


if __name__ == "__main__":
    main()
