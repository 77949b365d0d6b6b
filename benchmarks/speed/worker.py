"""A process that times one contender: `python -m benchmarks.speed.worker '{"name": "credax", ...}'`.

It prints one JSON object when it is ready (compile time, bounds, spikes lost) and then, for each line that it reads,
one list of durations in seconds. A process of its own keeps each contender's cores, precision and memory apart.
"""

import importlib
import json
import os
import sys
import time

import jax

from benchmarks.speed.contender import training_step
from benchmarks.speed.problem import OPTIMISER, Problem

MODULES = {
    "credax": "benchmarks.speed.with_credax",
    "jaxsnn": "benchmarks.speed.peers.with_jaxsnn",
    "eventax": "benchmarks.speed.peers.with_eventax",
    "spyx": "benchmarks.speed.peers.with_spyx",
}
TURN_S = 0.05
"""A turn takes at least this long, so that a quick step is timed as often as a slow one."""


def main(job: str) -> None:
    """Times the contender described by `job`: name, `build` and its options, hidden, batch, and the cores to run on."""
    request = json.loads(job)
    # Before JAX starts: its thread pool has as many threads as the process may use cores.
    os.sched_setaffinity(0, range(request["cores"]))
    problem = Problem.make(request["hidden"], request["batch"])
    try:
        module = importlib.import_module(MODULES[request["name"]])
        contender = getattr(module, request.get("build", "build"))(problem, **request["options"])
    except ModuleNotFoundError as error:
        print(json.dumps({"missing": f"not installed: {error}"}), flush=True)
        return
    arguments = (contender.weights, OPTIMISER.init(contender.weights), *contender.batch)
    start = time.perf_counter()
    step = jax.jit(training_step(contender)).lower(*arguments).compile()
    compile_s = time.perf_counter() - start
    _, _, loss, spikes = jax.block_until_ready(step(*arguments))
    answer = {
        "compile_s": compile_s,
        "loss": float(loss),
        "bound": contender.bound,
        "hidden_spikes": contender.hidden_spikes,
        "spikes_lost": 0 if contender.spikes is None else contender.spikes - int(spikes),
        "remark": contender.remark,
    }
    print(json.dumps(answer), flush=True)
    for _ in sys.stdin:
        durations = []
        # Always from the same weights: every timed step does the same work, for which the bounds were made.
        while sum(durations) < TURN_S:
            start = time.perf_counter()
            jax.block_until_ready(step(*arguments))
            durations.append(time.perf_counter() - start)
        print(json.dumps(durations), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
