"""Speed of an emulated chip: `python -m benchmarks.speed.chip`.

All 512 circuits and all 131 072 synapses, 128 signed inputs per circuit, driven for 50 µs in steps of 0.1 µs, float32,
with and without noise; all membranes are sampled. Beside it the floor: nothing but the matrix products of the synapses,
excitatory and inhibitory, one after the other. Writes results/speed/chip.json.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import eventprop as ep
import hardware as hw
from benchmarks.speed import record
from benchmarks.table import markdown_table
from hardware.weights import hardware_weights

SOURCES, NEURONS, EVENTS, T1, DT = 128, 512, 512, 50.0, 0.1
STEPS = round(T1 / DT)


def floor(batch: int) -> Callable[[], Any]:
    """The products alone."""
    rng = np.random.default_rng(0)
    ends = [jnp.asarray(rng.uniform(0, 1e-2, (NEURONS, SOURCES)), jnp.float32) for _ in range(2)]
    mixing = SOURCES  # what comes out feeds the next product, so that none is left out

    def run(x):
        def step(x, _):
            return jnp.clip(sum((x @ w.T)[:, :mixing] for w in ends), 0, 1), sum(jnp.sum(x @ w.T, axis=1) for w in ends)

        return jax.lax.scan(step, x, None, length=STEPS)

    x = jnp.ones((batch, SOURCES), jnp.float32)
    program = jax.jit(run).lower(x).compile()
    return lambda: jax.block_until_ready(program(x))


def emulated(batch: int, noise: hw.Noise) -> tuple[Callable[[], Any], float]:
    """A run of the whole chip, and spikes per neuron and trial."""
    rng = np.random.default_rng(0)
    weights = np.round(rng.normal(1.5, 12, (NEURONS, SOURCES)))
    network = ep.FeedForward([(ep.Dense(weights), ep.LIF(10.0, 10.0))])
    device = hw.Emulated(hw.Chip.fabricate(jax.random.key(0), noise=noise), DT)
    placement = hw.place(network)
    handle = device.configure(network, placement, hw.Codes.default())
    values = hardware_weights(network, placement, 1.0).values
    times = np.sort(rng.uniform(0, T1, (batch, EVENTS)), axis=1).astype(np.float32)
    spikes = ep.Spikes(times, rng.integers(0, SOURCES, (batch, EVENTS)))
    keys = jax.random.key(1)

    def run():
        return jax.block_until_ready(device.run(handle, values, spikes, T1, hw.Record(max_spikes=24), keys))

    count = run().spikes[0].count()
    return run, float(np.mean(count)) / NEURONS


def best(run: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest run."""
    durations = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        durations.append(time.perf_counter() - begin)
    return min(durations)


def main() -> None:
    """Times all programs, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 32, 256])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    rows, measured = [], []
    for batch in given.batch:
        least = best(floor(batch), given.repeats)
        for name, noise in (("quiet", hw.QUIET), ("noise", hw.Noise())):
            run, spikes = emulated(batch, noise)
            seconds = best(run, given.repeats)
            biological = batch * T1 * hw.BSS2.speedup * 1e-6
            rows.append([f"{batch}", name, f"{1e3 * seconds:.0f}", f"{biological / seconds:.2g}"])
            rows[-1] += [f"{seconds / least:.2f}", f"{spikes:.1f}"]
            measured.append({"batch": batch, "name": name, "seconds": seconds, "floor": least, "spikes": spikes})
    head = ["trials", "chip", "run of 50 µs, ms", "biological time over wall time", "over the products", "spikes"]
    print(markdown_table(head, rows))
    record.write("chip", measured=measured)


if __name__ == "__main__":
    main()
