"""Time of an online step beside PyTorch: `python -m benchmarks.speed.online_race`; see docs/results/speed.md.

Contenders have a process each, on the same cores, and take turns. Writes results/speed/online_step.json.
"""

import os
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.speed import record
from benchmarks.speed.online_problem import OnlineProblem
from benchmarks.speed.race import compete
from benchmarks.table import markdown_table

CREDAX = ("credax, Euler sweeps", "credax, Algorithm 1 as printed", "credax, the authors' variant")
TORCH = ("torch, eager", "torch, eager, fused Adam", "torch, compiled, fused Adam")
"""They run the authors' variant of Algorithm 1, and have to agree with it."""
NETWORKS = {"15k": (17, 18, 18), "42k": (30, 30, 30)}


def race(hidden: tuple[int, ...], cores: int) -> dict[str, dict[str, Any]]:
    """Median and best time of a step in ms, compile time (with the first steps) and logits of each contender."""
    outcomes = compete(
        "benchmarks.speed.online_worker",
        {name: {"name": name, "hidden": hidden, "cores": cores} for name in (*CREDAX, *TORCH)},
    )
    entries = {}
    for name, (ready, durations) in outcomes.items():
        entries[name] = dict(ready)
        if durations:
            entries[name] |= {"median_ms": 1e3 * statistics.median(durations), "best_ms": 1e3 * min(durations)}
    for name in TORCH:
        ours, theirs = entries[CREDAX[-1]]["check"], entries[name].get("check")
        if theirs is not None and abs(theirs - ours) > 1e-3 * ours:
            raise RuntimeError(f"{name} does not compute the same as Credax: mean |logit| {theirs}, not {ours}.")
    return entries


def peak_flops(size: int = 1024, repeats: int = 20) -> float:
    """Operations per second of a large matrix product on all cores of this process."""
    x = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    product(x).block_until_ready()
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        product(x).block_until_ready()
        durations.append(time.perf_counter() - start)
    return 2 * size**3 / min(durations)


def table(entries: dict[str, dict[str, Any]]) -> str:
    """Markdown, with ratios to the first contender."""
    ours = entries[CREDAX[0]]["median_ms"]
    rows = []
    for name, entry in entries.items():
        if "missing" in entry:
            rows.append([name, "", "", "", entry["missing"]])
            continue
        times = (entry["median_ms"], entry["best_ms"], entry["median_ms"] / ours, entry["compile_s"])
        rows.append([name, *(f"{value:.3g}" for value in times)])
    return markdown_table(["", "step ms", "best ms", "ratio", "first 60 steps s"], rows)


def main() -> None:
    """All races on one and, where there are two, on two cores."""
    available = len(os.sched_getaffinity(0))
    # Measured before anybody else runs, on one thread per core that this process may use.
    peak = peak_flops()
    print(f"Peak of a 1024 x 1024 product on {available} cores: {peak / 1e9:.0f} GFLOP/s", flush=True)
    races = []
    for size, hidden in NETWORKS.items():
        flop = OnlineProblem.make(hidden).flop
        for cores in range(1, min(available, 2) + 1):
            entries = race(hidden, cores)
            races.append({"network": size, "cores": cores, "flop": flop, "entries": entries})
            floor = 1e3 * flop / (peak * cores / available)
            print(f"\n{size}, batch 100, {cores} core(s); floor of {flop / 1e6:.1f} MFLOP: {floor:.3f} ms\n")
            print(table(entries), flush=True)
    record.write("online_step", peak_flops=peak, races=races)


if __name__ == "__main__":
    main()
