"""A process that times one row of the race of fixed-step simulators: see grid_race.py.

It prints one JSON object when it is ready, and then, for each line that it reads, a list of durations in seconds.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

NEURONS, BATCH, SOURCES, EVENTS, STEPS, DT = 512, 32, 64, 256, 500, 0.2
TAU_MEM, TAU_SYN = 20.0, 5.0
SLOTS = 20
ADEX = {"C": 200.0, "g": 12.0, "E": -70.0, "V_T": -50.0, "D": 2.0, "a": 2.0, "tau_w": 300.0, "b": 60.0, "V_r": -58.0}

Program = tuple[Callable[[], Any], Callable[[Any], float]]
"""A run, and the number of spikes per neuron and trial in what it returns."""


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Input weights, recurrent weights (thresholds), and the input events at points of the grid: times, sources."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(0.1, 0.3, (NEURONS, SOURCES)).astype(np.float32)
    lateral = rng.normal(0, 0.05, (NEURONS, NEURONS)).astype(np.float32)
    steps = np.sort(rng.integers(0, STEPS, (BATCH, EVENTS)), axis=1)
    return inputs, lateral, (steps * DT).astype(np.float32), rng.integers(0, SOURCES, (BATCH, EVENTS)).astype(np.int32)


def raster() -> np.ndarray:
    """The same input as counts [steps, trials, sources]."""
    _, _, times, index = problem()
    counts = np.zeros((STEPS, BATCH, SOURCES), np.float32)
    np.add.at(counts, (np.round(times / DT).astype(int), np.arange(BATCH)[:, None], index), 1)
    return counts


def products() -> Program:
    """Nothing but the recurrent matrix products, one after the other."""
    import jax
    import jax.numpy as jnp

    lateral = jnp.asarray(problem()[1])

    def run(x):
        return jax.lax.scan(lambda x, _: (jnp.clip(x @ lateral.T, 0, 1), None), x, None, length=STEPS)[0]

    x = jnp.ones((BATCH, NEURONS), jnp.float32)
    program = jax.jit(run).lower(x).compile()
    return lambda: jax.block_until_ready(program(x)), lambda _: 0.0


def credax(neuron: str, *, noise: bool = False, gradient: str | None = None, impl: str = "threefry2x32") -> Program:
    """`Grid`: AdEx neurons by the exponential midpoint rule, or LIF neurons by Euler's, as the others have it."""
    import diffrax
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    import eventprop as ep

    inputs, lateral, times, index = (jnp.asarray(x) for x in problem())
    if neuron == "AdEx":
        population = ep.AdEx(ep.CurrentSynapses((TAU_SYN,)), **ADEX, bias=500.0)
        inputs, lateral, scale, solver = 50 * inputs, 50 * lateral, 1.0, ep.ExponentialMidpoint()
    else:
        population, scale, solver = ep.LIF(TAU_MEM, TAU_SYN), 0.05, diffrax.Euler()
    population = ep.Noise(population, scale) if noise else population
    network = ep.Recurrent([(ep.Dense(inputs), population, ep.Dense(lateral))])
    keys = jax.random.split(jax.random.key(0, impl=impl), BATCH)
    adjoint = ep.Surrogate() if gradient == "surrogate" else ep.Implicit()
    weights, rest = eqx.partition(network, eqx.is_inexact_array)

    def spikes_of(weights, times, index, keys):
        def one(times, index, key):
            found = ep.simulate(
                eqx.combine(weights, rest),
                ep.Spikes(times, index),
                STEPS * DT,
                solver=ep.Grid(DT, SLOTS, solver),
                adjoint=adjoint,
                key=key,
                throw=False,
            )
            trains = found.spikes[0]
            assert trains is not None and found.raster is not None and found.raster[0] is not None
            if gradient == "implicit":
                return jnp.sum(jnp.where(trains.times < jnp.inf, trains.times, 0)), found.raster[0]
            return jnp.sum(found.raster[0]), (found.raster[0], trains.times, found.state.neurons)

        total, found = jax.vmap(one)(times, index, keys)
        return jnp.sum(total), found

    def run(*arguments):
        if gradient is None:
            return spikes_of(*arguments), None
        return jax.value_and_grad(spikes_of, has_aux=True)(*arguments)

    arguments = (weights, times, index, keys)
    program = jax.jit(run).lower(*arguments).compile()
    return lambda: jax.block_until_ready(program(*arguments)), _count(lambda found: jax.tree.leaves(found[0][1])[0])


def spyx(*, gradient: bool = False) -> Program:
    """`spyx.nn.RCuBaLIF`: the same LIF network, with exponential factors; spikes of a step act in the next."""
    import jax
    import jax.numpy as jnp
    import spyx as peer  # pyright: ignore[reportMissingImports]
    from flax import nnx  # pyright: ignore[reportMissingImports]

    inputs, lateral, _, _ = problem()
    alpha, beta = np.exp(-DT / TAU_SYN), np.exp(-DT / TAU_MEM)
    layer = peer.nn.RCuBaLIF((NEURONS,), alpha=alpha, beta=beta, rngs=nnx.Rngs(0))
    layer.recurrent_w[...] = jnp.asarray(lateral.T * (1 - beta))
    graph, weights, rest = nnx.split(layer, lambda path, _: "recurrent_w" in path, ...)
    counts, into = jnp.asarray(raster()), jnp.asarray(inputs.T * (1 - beta))

    def spikes_of(weights, into):
        network = nnx.merge(graph, weights, rest)
        drive = counts @ into
        _, spikes = jax.lax.scan(lambda y, x: network(x, y)[::-1], network.initial_state(BATCH), drive)
        return jnp.sum(spikes), spikes

    def run(weights, into):
        if gradient:
            return jax.value_and_grad(spikes_of, (0, 1), has_aux=True)(weights, into)
        return spikes_of(weights, into), None

    program = jax.jit(run).lower(weights, into).compile()
    return lambda: jax.block_until_ready(program(weights, into)), _count(lambda found: found[0][1])


def norse(*, gradient: bool = False) -> Program:
    """`norse.torch`'s LIF step, Euler's method, in a loop."""
    import torch  # pyright: ignore[reportMissingImports]
    from norse.torch.functional.lif import (  # pyright: ignore[reportMissingImports]
        LIFParameters,
        LIFState,
        lif_step,
    )

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    inputs, lateral, _, _ = (torch.from_numpy(x) for x in problem())
    counts = torch.from_numpy(raster())
    p = LIFParameters(tau_syn_inv=torch.tensor(1 / TAU_SYN), tau_mem_inv=torch.tensor(1 / TAU_MEM))

    def run():
        leaves = [x.clone().requires_grad_(gradient) for x in (inputs, lateral)]
        zeros, spikes = torch.zeros(BATCH, NEURONS), []
        state = LIFState(zeros, zeros, zeros)
        with torch.set_grad_enabled(gradient):
            for step in range(STEPS):
                z, state = lif_step(counts[step], state, *leaves, p=p, dt=DT)
                spikes.append(z)
            found = torch.stack(spikes)
            if gradient:
                found.sum().backward()
        return found.detach().numpy()

    return run, _count(lambda found: found)


def peer(name: str) -> Program:
    """One of `benchmarks.speed.peers`."""
    return importlib.import_module(f"benchmarks.speed.peers.with_{name}").build()


def _count(raster_of: Callable[[Any], Any]) -> Callable[[Any], float]:
    return lambda found: float(np.asarray(raster_of(found)).sum()) / (NEURONS * BATCH)


PROGRAMS: dict[str, Callable[[], Program]] = {
    "matrix products alone": products,
    "AdEx": lambda: credax("AdEx"),
    "AdEx, noise": lambda: credax("AdEx", noise=True),
    "AdEx, noise, rbg keys": lambda: credax("AdEx", noise=True, impl="rbg"),
    "AdEx, implicit gradient": lambda: credax("AdEx", gradient="implicit"),
    "LIF": lambda: credax("LIF"),
    "LIF, surrogate gradient": lambda: credax("LIF", gradient="surrogate"),
    "spyx, LIF": spyx,
    "spyx, LIF, surrogate gradient": lambda: spyx(gradient=True),
    "norse, LIF": norse,
    "norse, LIF, surrogate gradient": lambda: norse(gradient=True),
    "brian2, AdEx": lambda: peer("brian2"),
    "rockpool, DynapSim": lambda: peer("rockpool"),
}


def main(job: str) -> None:
    """Times the program named in `job`, on so many cores."""
    request = json.loads(job)
    os.sched_setaffinity(0, range(request["cores"]))
    try:
        run, count = PROGRAMS[request["name"]]()
    except ModuleNotFoundError as error:
        print(json.dumps({"missing": f"not installed: {error}"}), flush=True)
        return
    print(json.dumps({"spikes": count(run())}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print(json.dumps([time.perf_counter() - start]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
