"""Speed of calibration: `python -m benchmarks.speed.calibration`.

All 512 circuits of one emulated chip for calix' default targets; then many chips by `jax.lax.map`, with `--batch` of
them side by side. Seconds of runs, compilation apart. Writes results/speed/calibration.json.
"""

import argparse
import time
from typing import Any

import jax
import numpy as np

import hardware as hw
from benchmarks.speed import record
from benchmarks.table import markdown_table

TARGETS = hw.Targets.default()


def calibrated(chip: hw.Chip, key: Any) -> hw.Calibration:
    """One chip."""
    return hw.calibrate(hw.Emulated(chip), TARGETS, key)


def timed(chips: int, batch: int) -> dict[str, Any]:
    """Seconds to compile and to run, and the share of circuits that succeed."""

    def run(seed):
        keys = jax.random.split(jax.random.key(seed), (2, chips))
        made = jax.vmap(hw.Chip.fabricate)(keys[0])
        return jax.lax.map(lambda pair: calibrated(*pair), (made, keys[1]), batch_size=batch)

    begin = time.perf_counter()
    program = jax.jit(run).lower(0).compile()
    compiled = time.perf_counter()
    found = jax.block_until_ready(program(0))
    end = time.perf_counter()
    success = float(np.mean(found.success))
    return {"compile_s": compiled - begin, "run_s": end - compiled, "success": success, "chips": chips, "batch": batch}


def main() -> None:
    """Times both, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, nargs="*", default=[1, 100])
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args()
    measured = [timed(chips, min(given.batch, chips)) for chips in given.chips]
    forms = {"chips": "d", "batch": "d", "compile_s": ".1f", "run_s": ".1f", "success": ".4f"}
    rows = [[format(one[name], form) for name, form in forms.items()] for one in measured]
    print(markdown_table(["chips", "side by side", "compile, s", "run, s", "success"], rows))
    record.write("calibration", measured=measured)


if __name__ == "__main__":
    main()
