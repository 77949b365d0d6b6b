"""Time of a sampling network's step beside plain loops: `python -m benchmarks.speed.sampling_race`.

Figures stand in docs/results/speed.md.

Exact sampling (sequential sweeps) with many networks side by side. The contenders share one process and take turns.
Writes results/speed/sampling_step.json.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import sal
from benchmarks.speed import record
from benchmarks.speed.scaling import slope
from benchmarks.table import markdown_table

REFRACTORY = 10
"""Steps."""
STEPS = 500
REPEATS = 9
SIZES = {
    "units": ((3, 1000), (7, 1000), (14, 1000), (28, 1000)),
    "networks": ((7, 10), (7, 100), (7, 1000), (7, 10000)),
}


def problem(units: int, networks: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric weights and biases of Boltzmann machines."""
    rng = np.random.default_rng(0)
    weights = np.triu(rng.uniform(-1, 1, (networks, units, units)), 1)
    return (weights + weights.transpose(0, 2, 1)).astype(np.float32), rng.uniform(-1, 1, (networks, units)).astype(
        np.float32
    )


def with_credax(weights: np.ndarray, bias: np.ndarray, devices: int) -> Callable[[], float]:
    """Counts spikes; the networks are shared out among `devices`."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("networks",))
    shared = jax.NamedSharding(mesh, jax.P("networks"))
    arguments = (weights, bias, jax.random.split(jax.random.key(0), len(bias)))
    arguments = jax.device_put(jax.tree.map(jnp.asarray, arguments), shared)

    @jax.jit
    @jax.vmap
    def run(weights, bias, key):
        network = sal.Network(sal.Recurrent(weights), bias, float(REFRACTORY))
        solution = sal.simulate(network, float(STEPS), dt=1.0, key=key, throw=False)
        return jnp.sum(solution.spikes.spikes)

    return lambda: float(jnp.mean(run(*arguments).block_until_ready()))


def with_numpy(weights: np.ndarray, bias: np.ndarray) -> Callable[[], float]:
    """A loop over steps and units in which all networks are vectors."""
    rng = np.random.default_rng(0)

    def run():
        networks, units = bias.shape
        age, spikes = np.full((networks, units), REFRACTORY), 0
        for _ in range(STEPS):
            noise = rng.random((networks, units), np.float32)
            for unit in range(units):
                u = bias[:, unit] + np.einsum("nj,nj->n", weights[:, unit], age < REFRACTORY)
                fires = (age[:, unit] >= REFRACTORY - 1) & (noise[:, unit] * (1 + REFRACTORY * np.exp(-u)) < 1)
                age[:, unit] = np.where(fires, 0, age[:, unit] + 1)
                spikes += int(np.sum(fires))
        return spikes / networks

    return run


def with_numba(weights: np.ndarray, bias: np.ndarray, threads: int) -> Callable[[], float] | None:
    """A compiled loop over networks, steps and units; None where numba is not installed."""
    try:
        import numba  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    numba.set_num_threads(threads)

    @numba.njit(parallel=True, fastmath=True)
    def run(weights, bias):
        networks, units = bias.shape
        total = 0
        for network in numba.prange(networks):
            age, spikes = np.full(units, REFRACTORY), 0
            for _ in range(STEPS):
                for unit in range(units):
                    fires = False
                    if age[unit] >= REFRACTORY - 1:
                        u = bias[network, unit]
                        for other in range(units):
                            if age[other] < REFRACTORY:
                                u += weights[network, unit, other]
                        fires = np.random.random() * (1 + REFRACTORY * np.exp(-u)) < 1  # noqa: NPY002  (numba has no other)
                    age[unit] = 0 if fires else age[unit] + 1
                    spikes += fires
            total += spikes
        return total / networks

    return lambda: run(weights, bias)


def race(units: int, networks: int) -> dict[str, dict[str, float]]:
    """Microseconds per step and network, compile time and spikes per network of each contender."""
    data = problem(units, networks)
    contenders = {
        "credax, one device": with_credax(*data, devices=1),
        "credax, two devices": with_credax(*data, devices=2),
        "numba, two threads": with_numba(*data, threads=2),
        "numpy": with_numpy(*data) if networks <= 1000 else None,
    }
    entries, durations = {}, {}
    for name, run in contenders.items():
        if run is not None:
            start = time.perf_counter()
            entries[name] = {"spikes": run(), "first_s": time.perf_counter() - start}
            durations[name] = []
    spikes = [entry["spikes"] for entry in entries.values()]
    if max(spikes) > 1.1 * min(spikes):
        raise RuntimeError(f"The contenders do not sample the same: spikes per network {spikes}.")
    for _ in range(REPEATS):
        for name in durations:
            start = time.perf_counter()
            contenders[name]()  # pyright: ignore[reportOptionalCall]
            durations[name].append(time.perf_counter() - start)
    for name, times in durations.items():
        entries[name] |= {"us": 1e6 * float(np.median(times)) / STEPS / networks}
    return entries


def main() -> None:
    """Races at all sizes."""
    jax.config.update("jax_num_cpu_devices", 2)
    rows, measured = [], []
    for axis, sizes in SIZES.items():
        times = []
        for units, networks in sizes:
            entries = race(units, networks)
            ours = min(entry["us"] for name, entry in entries.items() if name.startswith("credax"))
            times.append(ours * networks)
            for name, entry in entries.items():
                rows.append([f"{units} x {networks}", name, f"{entry['us']:.3g}", f"{entry['us'] / ours:.1f}"])
                measured.append({"units": units, "networks": networks, "name": name, **entry})
                print(*rows[-1], sep="\t", flush=True)
        values = [size[0 if axis == "units" else 1] for size in sizes]
        print(f"time ~ {axis} ^ {slope(values, times):.2f}", flush=True)
    print(markdown_table(["units x networks", "contender", "us per step and network", "ratio"], rows))
    record.write("sampling_step", measured=measured)


if __name__ == "__main__":
    main()
