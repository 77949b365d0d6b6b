"""Time of the theory of two neurons: `python -m benchmarks.speed.stdd`; see docs/results/speed.md.

Beside Credax, the same chain as a sparse matrix over all Z^2 states with SciPy's eigenvector. Writes
results/speed/stdd.json.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
import scipy.sparse.linalg

import sal
from benchmarks.speed import record
from benchmarks.speed.scaling import slope
from benchmarks.table import markdown_table
from sal.theory import steady_state, two_neurons
from sal.two_weights import phase_plane

STATES = (20, 40, 60, 102, 200)
"""Z; 102 is the published comparison, 10 404 states of the chain."""
GRIDS = (5, 9, 17, 33)
"""Weights on a side of the phase plane."""
WEIGHTS, BIASES, TAU_REF = (0.5, 1.0), (-0.5, 0.5), 10
WINDOW, PSP = sal.Exponential(10.0), sal.Alpha(10 / 3, 10.0)


def sparse_stdd(weights: tuple[float, float], states: int) -> np.ndarray:
    """Parallel updates: pairs per step at differences 1, ..., Z - 1, [last neuron, difference]."""
    a, b = (age.ravel() for age in np.meshgrid(*[np.arange(1, states + 1)] * 2, indexing="ij"))
    psp = np.arange(states + 1) * 0.9 * np.exp(-0.3 * np.arange(states + 1))
    p1, p2 = (
        np.where(own >= TAU_REF, 1 / (1 + TAU_REF * np.exp(-(bias + weight * psp[other]))), 0)
        for own, other, weight, bias in ((a, b, weights[0], BIASES[0]), (b, a, weights[1], BIASES[1]))
    )
    older_a, older_b = np.minimum(a + 1, states), np.minimum(b + 1, states)

    def matrix(to_a, to_b, p):
        rows = (to_a - 1) * states + to_b - 1
        return scipy.sparse.csr_array((p, (rows, np.arange(states**2))), shape=(states**2, states**2))

    silent = matrix(older_a, older_b, (1 - p1) * (1 - p2))
    ones = np.ones_like(a)
    spiking = matrix(ones, older_b, p1 * (1 - p2)) + matrix(older_a, ones, (1 - p1) * p2) + matrix(ones, ones, p1 * p2)
    vector = np.real(scipy.sparse.linalg.eigs(silent + spiking, k=1, which="LM", v0=np.ones(states**2))[1][:, 0])
    steady = vector / np.sum(vector)
    later = np.zeros((2, states - 1))
    for last, (spiked, ends) in enumerate(((b == 1, p1), (a == 1, p2))):
        now = np.where(spiked, steady, 0)
        for lag in range(states - 1):
            later[last, lag] = np.sum(now * ends)
            now = silent @ now
    return later


def median(run: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median time of a run, and the time of the first one, which compiles, in seconds."""
    durations = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(run())
        durations.append(time.perf_counter() - start)
    return statistics.median(durations[1:]), durations[0]


def credax_stdd(states: int) -> Callable[[], Any]:
    """The same as `sparse_stdd`, compiled."""

    @eqx.filter_jit
    def stdd(weights):
        network = two_neurons(weights, BIASES, PSP, float(TAU_REF), order=sal.Parallel())
        found = steady_state(network, dt=1.0, states=states).differences
        return found.probabilities(states - 1) * found.rate

    weights = jnp.array(WEIGHTS)
    return lambda: stdd(weights)


def credax_plane(points: int, states: int) -> Callable[[], Any]:
    """The phase plane on a grid of `points` x `points` weights."""
    network = two_neurons(WEIGHTS, BIASES, PSP, float(TAU_REF), order=sal.Parallel())
    plane = eqx.filter_jit(lambda grid: phase_plane(network, grid, grid, WINDOW, dt=1.0, states=states))
    grid = jnp.linspace(-2.0, 2.0, points)
    return lambda: plane(grid)


def entry(run: Callable[[], Any], repeats: int) -> dict[str, float]:
    """What is written about one contender at one size."""
    seconds, first = median(run, repeats)
    return {"median_ms": 1e3 * seconds, "first_ms": 1e3 * first}


def main() -> None:
    """All sizes, in float64 on the devices of this process."""
    jax.config.update("jax_enable_x64", True)
    stdds, planes = {}, {}
    for states in STATES:
        ours, theirs = credax_stdd(states), lambda states=states: sparse_stdd(WEIGHTS, states)
        np.testing.assert_allclose(ours(), theirs(), rtol=1e-6, atol=1e-12)
        stdds[states] = {"credax": entry(ours, 15), "scipy": entry(theirs, 3)}
    for points in GRIDS:
        planes[points] = {states: entry(credax_plane(points, states), 3) for states in (40, 102)}
    rows = [
        [str(states), f"{e['credax']['median_ms']:.3g}", f"{e['scipy']['median_ms']:.3g}"]
        for states, e in stdds.items()
    ]
    print(markdown_table(["Z", "credax ms", "scipy ms"], rows))
    rows = [[f"{n} x {n}", *(f"{e['median_ms']:.3g}" for e in entries.values())] for n, entries in planes.items()]
    print(markdown_table(["phase plane", "Z = 40, ms", "Z = 102, ms"], rows))
    exponents = {
        "states": slope(list(STATES), [stdds[states]["credax"]["median_ms"] for states in STATES]),
        "points": slope([n**2 for n in GRIDS], [planes[n][102]["median_ms"] for n in GRIDS]),
    }
    print(exponents)
    record.write("stdd", stdd=stdds, plane=planes, exponents=exponents)


if __name__ == "__main__":
    main()
