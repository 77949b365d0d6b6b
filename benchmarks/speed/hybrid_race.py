"""`Hybrid` beside eventax, LIF neurons, at measured errors of spike times: `python -m benchmarks.speed.hybrid_race`.

Both go from event to event with diffrax' integrators, in float64. The problem is that of `race`: the first output
spikes of a layered network, and the gradient of their cross-entropy by all weights. Errors are those of the first
output spikes beside `Exact`. Needs requirements-peers.txt. Writes results/speed/hybrid_race.json.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import eventprop as ep
from benchmarks.speed import record
from benchmarks.speed.peers import with_eventax
from benchmarks.speed.problem import TAU_MEM, TAU_SYN, THRESHOLD, Problem, first_spike_loss
from benchmarks.table import markdown_table

HIDDEN, BATCH, REPEATS = 100, 4, 3
MARGIN = 1.0
"""eventax ends a trial once all outputs have fired; ours end so long after the last of all first output spikes (ms)."""


@dataclass(frozen=True)
class Row:
    """What one solver costs and how far its first output spikes are from those of `Exact`, in ms."""

    name: str
    largest_error: float
    median_error: float
    gradient_error: float
    """Norm of the difference of the weights' gradients, relative to that of `Exact`."""
    steps_per_second: float
    """Values and gradients of the batch."""
    compile_s: float


def contenders(problem: Problem, t1: float) -> dict[str, tuple[Callable[..., Array], Any, Any, Callable[[Any], Any]]]:
    """Name: first output spikes of (weights, batch), weights, batch, and how a gradient is told, layer by layer."""
    neuron = ep.LIF(TAU_MEM, TAU_SYN, THRESHOLD)
    weights = [jnp.asarray(x.T, float) for x in (problem.hidden, problem.output)]
    spikes = eqx.tree_at(lambda s: s.times, problem.spikes, problem.spikes.times.astype(float))

    def ours(solver: ep.AbstractSolver, adjoint: ep.AbstractAdjoint) -> Any:
        def run(weights: list[Array], spikes: ep.Spikes) -> Array:
            network = ep.FeedForward([(ep.Dense(weight), neuron) for weight in weights])

            def trial(spikes: ep.Spikes) -> Array:
                trains = ep.simulate(network, spikes, t1, solver=solver, adjoint=adjoint).spikes[1]
                assert trains is not None  # outputs spike
                return trains.first()

            return jax.vmap(trial)(spikes)

        return run, weights, spikes, lambda gradient: gradient

    def hybrid(solver: diffrax.AbstractSolver, control: diffrax.AbstractStepSizeController, largest: float) -> Any:
        return ours(ep.Hybrid(largest, 16, 1024, None, solver, control), ep.EventProp())

    network, _ = with_eventax.network_of(problem)
    theirs = jnp.asarray(problem.times_by_source(), float)[..., None]
    inputs, hidden = problem.hidden.shape

    def layers(gradient: Array) -> list[Array]:
        return [gradient[-inputs:, :hidden].T, gradient[:hidden, hidden:].T]

    def eventax(weights: Array, times: Array) -> Array:
        return with_eventax.first_output_spikes(network, weights, times)

    constant, dt = diffrax.ConstantStepSize(), with_eventax.DT
    return {
        "Exact": ours(ep.Exact(16), ep.Implicit()),
        f"Hybrid, Euler, steps of {dt:g} ms": hybrid(diffrax.Euler(), constant, dt),
        f"Hybrid, Heun, steps of {dt:g} ms": hybrid(diffrax.Heun(), constant, dt),
        "Hybrid, Tsit5, rtol 1e-3": hybrid(diffrax.Tsit5(), diffrax.PIDController(rtol=1e-3, atol=1e-3), TAU_SYN / 2),
        "Hybrid, Tsit5, rtol 1e-6": hybrid(diffrax.Tsit5(), diffrax.PIDController(rtol=1e-6, atol=1e-6), TAU_SYN / 2),
        f"eventax, Euler, steps of {dt:g} ms": (eventax, network.neuron_model.weights, theirs, layers),
    }


def measure(name: str, contender: Any, labels: Array, exact: tuple[np.ndarray, np.ndarray] | None) -> tuple[Row, Any]:
    """Compile, run, time; `exact`: spikes and gradient of `Exact`. The fastest of some runs counts."""
    run, weights, batch, layers = contender

    def loss(weights: Any, batch: Any) -> tuple[Array, Array]:
        first = run(weights, batch)
        return first_spike_loss(first, labels), first

    begin = time.perf_counter()
    step = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(weights, batch).compile()
    compile_s, seconds = time.perf_counter() - begin, np.inf
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        (_, first), gradient = jax.block_until_ready(step(weights, batch))
        seconds = min(seconds, time.perf_counter() - begin)
    found = np.asarray(first), np.concatenate([np.ravel(x) for x in layers(gradient)])
    spikes, reference = found if exact is None else exact
    errors = np.abs(found[0] - spikes)
    gradient_error = float(np.linalg.norm(found[1] - reference) / np.linalg.norm(reference))
    return Row(name, float(np.max(errors)), float(np.median(errors)), gradient_error, 1 / seconds, compile_s), found


def main() -> None:
    """Measure all, print a table, write hybrid_race.json."""
    problem = Problem.make(HIDDEN, BATCH)
    jax.config.update("jax_enable_x64", True)
    long = contenders(problem, 100.0)["Exact"]
    first = np.asarray(jax.jit(long[0])(long[1], long[2]))
    if not np.isfinite(first).all():
        raise RuntimeError("an output is silent: its spike has no error.")
    exact, rows = None, []
    for name, contender in contenders(problem, float(np.max(first)) + MARGIN).items():
        row, found = measure(name, contender, problem.labels, exact)
        exact = found if exact is None else exact
        rows.append(row)
        print(row, flush=True)
    record.write("hybrid_race", hidden=HIDDEN, batch=BATCH, measured=[asdict(row) for row in rows])
    header = [
        "solver",
        "largest error, ms",
        "median, ms",
        "gradient, relative",
        "value and gradient, 1/s",
        "compile, s",
    ]
    numbers = "{largest_error:.2g} {median_error:.2g} {gradient_error:.2g} {steps_per_second:.3g} {compile_s:.3g}"
    print(markdown_table(header, [[row.name, *numbers.format(**asdict(row)).split()] for row in rows]))


if __name__ == "__main__":
    main()
