"""Time of a spiking twin's step beside a plain loop: `python -m benchmarks.speed.twin_race`; see docs/results/speed.md.

SALNet with replicas side by side, spike-timing-dependent plasticity included. The contenders share one process and take
turns; both use all cores that the process may run on. Writes results/speed/twin_step.json.
"""

import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.speed import record
from benchmarks.speed.scaling import slope
from benchmarks.table import markdown_table
from sal.symmnet import CHUNK, SALNet

STEPS = 500
"""Of learning; as in every run, `CHUNK` more go before, and all are counted."""
REPEATS = 7
LAYERS = (1024, 384, 192, 10)
TAU = 10.0
RATE = 0.04
SIZES: dict[str, Sequence[tuple[tuple[int, ...], int]]] = {
    "replicas": [(LAYERS, replicas) for replicas in (8, 32, 128)],
    "width": [(tuple(-(-n * share // 4) for n in LAYERS), 32) for share in (1, 2, 4, 8)],
}

Weights = list[np.ndarray]


def problem(layers: Sequence[int]) -> tuple[Weights, Weights, Weights]:
    """Forward and backward weights and biases, as they are drawn before training."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.uniform(-1, 1, shape).astype(np.float32) / np.sqrt(shape[-1], dtype=np.float32)

    shapes = list(zip(layers[1:], layers, strict=False))
    return [draw(*s) for s in shapes], [draw(*s) for s in shapes], [draw(n, 1)[:, 0] * 0.05 for n in layers[1:]]


def with_credax(forward: Weights, backward: Weights, biases: Weights, replicas: int) -> Callable[[], Weights]:
    """One update of `sal.SALNet`."""
    twin = SALNet(RATE, updates=1, replicas=replicas, duration=float(STEPS), tau_ref=TAU)
    weights, key = jax.tree.map(jnp.asarray, (forward, biases, backward)), jax.random.key(0)
    learn = jax.jit(twin.learn).lower(*weights, key).compile()
    return lambda: jax.tree.map(np.asarray, learn(*weights, key))


def with_numpy(forward: Weights, backward: Weights, biases: Weights, replicas: int) -> Callable[[], Weights]:
    """Layers and steps in a loop, replicas in matrix products; the sums over pairs as matrix products over a chunk."""
    rng = np.random.default_rng(0)
    sizes = [forward[0].shape[1], *(w.shape[0] for w in forward)]
    bias = [np.zeros(sizes[0], np.float32), *biases]
    # Lower layers are updated first: a pair is half a step apart in the same step, and so it is from upper to lower in
    # the next one.
    decay, half = np.float32(np.exp(-1 / TAU)), np.float32(np.exp(-0.5 / TAU))

    def run() -> Weights:
        learned = [b.copy() for b in backward]
        age = [np.full((replicas, n), 1000) for n in sizes]
        trace = [np.zeros((replicas, n), np.float32) for n in sizes]
        for start in range(0, CHUNK + STEPS, CHUNK):
            spikes, before, after = [], [], []
            for _ in range(CHUNK):
                now = sweep(age)
                before.append([half * x for x in trace])
                trace[:] = [decay * x + s for x, s in zip(trace, now, strict=True)]
                after.append([half * x for x in trace])
                spikes.append(now)
            if start == 0:
                trace = [0 * x for x in trace]
                continue
            for number, change in enumerate(learned):
                s_low, s_up = (np.concatenate([x[n] for x in spikes]) for n in (number, number + 1))
                lower = np.concatenate([x[number] for x in after])
                upper = np.concatenate([x[number + 1] for x in before])
                change += np.float32(RATE / (2 * TAU) / replicas) * (s_up.T @ lower - upper.T @ s_low)
        return learned

    def sweep(age: list[np.ndarray]) -> Weights:
        spikes = []
        for layer, size in enumerate(sizes):
            u = bias[layer] + np.zeros((replicas, size), np.float32)
            if layer > 0:
                u += (age[layer - 1] < TAU).astype(np.float32) @ forward[layer - 1].T
            if layer < len(forward):
                u += (age[layer + 1] < TAU).astype(np.float32) @ backward[layer]
            chance = 1 / (1 + np.float32(TAU) * np.exp(-u))
            fires = (age[layer] >= TAU - 1) & (rng.random(u.shape, np.float32) < chance)
            age[layer] = np.where(fires, 0, age[layer] + 1)
            spikes.append(fires.astype(np.float32))
        return spikes

    return run


def progress(forward: Weights, backward: Weights, learned: Weights) -> float:
    """How much of the way from B to W was gone."""
    gone = sum(float(np.sum((new - b) * (w - b))) for w, b, new in zip(forward, backward, learned, strict=True))
    return gone / sum(float(np.sum((w - b) ** 2)) for w, b in zip(forward, backward, strict=True))


def race(layers: Sequence[int], replicas: int) -> dict[str, dict[str, float]]:
    """Milliseconds per step, wall time (median and best) and median time of all cores, and progress, by contender."""
    weights = problem(layers)
    contenders = {"credax": with_credax(*weights, replicas), "numpy": with_numpy(*weights, replicas)}
    gone = {name: progress(weights[0], weights[1], run()) for name, run in contenders.items()}
    if not 0.8 < gone["credax"] / gone["numpy"] < 1.25:
        raise RuntimeError(f"The contenders do not learn the same: progress {gone}.")
    durations: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(REPEATS):
        for name, run in contenders.items():
            start = time.perf_counter(), time.process_time()
            run()
            durations[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    entries = {}
    for name, times in durations.items():
        wall, cores = 1e3 * np.array(times).T / (STEPS + CHUNK)
        entries[name] = {
            "ms": float(np.median(wall)),
            "best_ms": float(np.min(wall)),
            "cpu_ms": float(np.median(cores)),
            "progress": gone[name],
        }
    return entries


def main() -> None:
    """Races at all sizes."""
    rows, measured = [], []
    for axis, sizes in SIZES.items():
        times = []
        for layers, replicas in sizes:
            entries = race(layers, replicas)
            times.append(entries["credax"]["best_ms"])
            name = f"{'-'.join(map(str, layers))} x {replicas}"
            for contender, entry in entries.items():
                milliseconds = [f"{entry[kind]:.3g}" for kind in ("ms", "best_ms", "cpu_ms")]
                rows.append([name, contender, *milliseconds, f"{entry['best_ms'] / times[-1]:.1f}"])
                measured.append({"layers": layers, "replicas": replicas, "name": contender, **entry})
                print(*rows[-1], sep="\t", flush=True)
        values = [replicas if axis == "replicas" else layers[0] for layers, replicas in sizes]
        print(f"time ~ {axis} ^ {slope(values, times):.2f}", flush=True)
    print(
        markdown_table(
            ["layers x replicas", "contender", "step ms", "best ms", "all cores ms", "ratio of the best"], rows
        )
    )
    record.write("twin_step", measured=measured)


if __name__ == "__main__":
    main()
