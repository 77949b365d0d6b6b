"""A process that times one contender of the online race; see worker.py, whose lines it speaks."""

import importlib
import json
import os
import sys
import time

import numpy as np

from benchmarks.speed.online_problem import OnlineProblem

STEPS = 60
"""Steps of a turn's parts, of which the mean is one duration."""
TURN_S = 0.3


def contender(name: str, problem: OnlineProblem):
    """The function that goes on for some steps."""
    if name.startswith("torch"):
        module = importlib.import_module("benchmarks.speed.peers.with_torch")
        return module.build(problem, compile="compiled" in name, fused="fused" in name)
    import gle
    from benchmarks.speed.with_credax_online import build

    steppers = {
        "credax, Euler sweeps": gle.Step(),
        "credax, Algorithm 1 as printed": gle.Algorithm1(),
        "credax, the authors' variant": gle.Algorithm1(fresh_errors=True),
    }
    return build(problem, steppers[name])


def main(job: str) -> None:
    """`job`: name, hidden, layers, batch and the cores to run on."""
    request = json.loads(job)
    name = request.pop("name")
    os.sched_setaffinity(0, range(request["cores"]))
    problem = OnlineProblem.make(**request)
    try:
        run = contender(name, problem)
    except ModuleNotFoundError as error:
        print(json.dumps({"missing": f"not installed: {error}"}), flush=True)
        return
    start = time.perf_counter()
    logits = run(STEPS)
    compile_s = time.perf_counter() - start
    # Of the first steps: what all contenders that do the same have to agree on.
    check = np.abs(logits).mean().item()
    print(json.dumps({"compile_s": compile_s, "check": check}), flush=True)
    for _ in sys.stdin:
        durations = []
        while sum(durations) * STEPS < TURN_S:
            start = time.perf_counter()
            run(STEPS)
            durations.append((time.perf_counter() - start) / STEPS)
        print(json.dumps(durations), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
