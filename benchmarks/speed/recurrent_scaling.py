"""How recurrent networks with delays scale, forward: `python -m benchmarks.speed.recurrent_scaling`.

Figures stand in docs/results/speed.md.

Sparse networks of fixed out-degree, all synapses with one delay, driven by Poisson inputs to a tenth of the neurons.
Turns of the search (see docs/eventprop.md) and time are told against the spikes of the network. Writes
recurrent_scaling.json and recurrent_scaling.png to results/speed/.
"""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eventprop as ep
from benchmarks import style
from benchmarks.speed import record
from benchmarks.speed.problem import TAU_MEM, TAU_SYN, THRESHOLD
from benchmarks.table import markdown_table
from eventprop.solvers import recurrent

OUT_DEGREE = 10
DELAY = 1.5
"""Of all synapses, ms."""
REFRACTORY = 2.0
"""ms."""


@dataclass(frozen=True)
class Load:
    """A network and how long it runs, in ms."""

    neurons: int
    duration: float


@dataclass(frozen=True)
class Cost:
    """What a trial costs; `turns` of the search's loop."""

    spikes: int
    turns: int
    seconds: float
    compile_s: float


LOADS = (
    Load(100, 100.0),
    Load(100, 1000.0),
    Load(100, 10000.0),
    Load(1000, 100.0),
    Load(1000, 1000.0),
    Load(10000, 10.0),
    Load(10000, 100.0),
)
LONGEST = Load(10000, 500.0)
"""A million spikes, measured with --longest: it takes minutes."""


def problem(load: Load) -> tuple[ep.Recurrent, ep.Spikes]:
    """A tenth of the neurons have an input of their own that makes them fire at some 100 Hz; the rest follow."""
    random = np.random.default_rng(0)
    sources = load.neurons // 10
    rate = 0.1
    count = random.poisson(rate * load.duration, sources)
    times = random.uniform(0, load.duration, count.sum())
    index = np.repeat(np.arange(sources), count)
    order = np.argsort(times)
    driven = random.permutation(load.neurons)[:sources, None]
    strong = 8.0 * THRESHOLD * TAU_MEM / TAU_SYN / 4
    inputs = ep.Sparse(
        weight=jnp.full((sources, 1), strong, jnp.float32), target=jnp.asarray(driven, jnp.int32), size=load.neurons
    )
    target = np.stack([random.choice(load.neurons, OUT_DEGREE, replace=False) for _ in range(load.neurons)])
    weight = random.normal(1.0, 0.5, target.shape) * strong / OUT_DEGREE
    lateral = ep.Sparse(
        weight=jnp.asarray(weight, jnp.float32),
        target=jnp.asarray(target, jnp.int32),
        size=load.neurons,
        delay=jnp.float32(DELAY),
    )
    neuron = ep.LIF(TAU_MEM, TAU_SYN, THRESHOLD, refractory=REFRACTORY)
    spikes = ep.Spikes.from_events(times[order], index[order])
    return ep.Recurrent([(inputs, neuron, lateral)]), spikes


def solver(load: Load, spikes: float) -> ep.Exact:
    """Bounds with room for so many spikes per neuron and ms: a turn takes what arrives within a delay."""
    most = int(spikes * load.neurons * load.duration) + 100
    window = int(spikes * load.neurons * DELAY) + 64
    return ep.Exact(int(load.duration / REFRACTORY) + 2, max_events=most, max_in_flight=3 * window, chunk=window)


def measure(load: Load, per_neuron: float, repeats: int = 3) -> Cost:
    """Compile and time one setting, with room for `per_neuron` spikes per ms. Raises `RuntimeError` if one is lost."""
    network, spikes = problem(load)
    turns = 0

    def run(network: ep.Recurrent, spikes: ep.Spikes) -> Any:
        solution = ep.simulate(network, spikes, load.duration, solver=solver(load, per_neuron), throw=False)
        assert solution.spikes[0] is not None
        return jnp.sum(solution.spikes[0].count()), solution.stats["spikes_lost"]

    def count():
        nonlocal turns
        turns += 1

    start = time.perf_counter()
    with turns_tell(count):
        program = eqx.filter_jit(run).lower(network, spikes).compile()
    compile_s = time.perf_counter() - start
    durations = []
    for _ in range(repeats):
        turns, start = 0, time.perf_counter()
        found, lost = jax.block_until_ready(program(network, spikes))
        durations.append(time.perf_counter() - start)
        jax.effects_barrier()
    if int(lost):
        raise RuntimeError(f"{load}: {lost} spikes lost.")
    return Cost(int(found), turns, float(np.median(durations)), compile_s)


@contextlib.contextmanager
def turns_tell(count: Callable[[], None]) -> Iterator[None]:
    """What is traced meanwhile calls `count` in every turn of the search, which takes some 0.05 ms."""
    original = recurrent._turn

    def counted(*args):
        jax.debug.callback(count)
        return original(*args)

    recurrent._turn = counted
    jax.clear_caches()
    try:
        yield
    finally:
        recurrent._turn = original
        jax.clear_caches()


def draw(costs: dict[Load, Cost]) -> None:
    """Turns and time against spikes, a line for each size of network."""
    figure, panels = plt.subplots(1, 2, figsize=(0.8 * style.PAGE, 2.6))
    for neurons in sorted({load.neurons for load in costs}):
        row = [cost for load, cost in costs.items() if load.neurons == neurons]
        x = [cost.spikes for cost in row]
        for panel, y in zip(panels, ([cost.turns for cost in row], [cost.seconds for cost in row]), strict=True):
            panel.loglog(x, y, "o-", label=f"{neurons} neurons")
    for panel, name in zip(panels, ("turns", "time (s)"), strict=True):
        panel.set(xlabel="spikes of the network", ylabel=name)
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(record.RESULTS / "recurrent_scaling.png")


def main() -> None:
    """Measure all, print a table, write recurrent_scaling.json and recurrent_scaling.png."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--longest", action="store_true", help="also a million spikes of 10 000 neurons")
    parser.add_argument("--per-neuron", type=float, default=0.25, help="room for so many spikes per neuron and ms")
    options = parser.parse_args()
    costs: dict[Load, Cost] = {}
    for load in (*LOADS, *([LONGEST] if options.longest else [])):
        costs[load] = measure(load, options.per_neuron, repeats=1 if load == LONGEST else 3)
        print(load, costs[load], flush=True)
        record.write("recurrent_scaling", measured=[{**asdict(a), **asdict(b)} for a, b in costs.items()])
        with style.paper():
            draw(costs)
    heads = ("neurons", "trial, ms", "spikes", "turns", "time, s", "µs per spike", "compile, s")
    rows = [
        [
            str(a.neurons),
            f"{a.duration:g}",
            str(b.spikes),
            str(b.turns),
            f"{b.seconds:.3g}",
            f"{1e6 * b.seconds / max(b.spikes, 1):.3g}",
            f"{b.compile_s:.2g}",
        ]
        for a, b in costs.items()
    ]
    print(markdown_table(heads, rows))


if __name__ == "__main__":
    main()
