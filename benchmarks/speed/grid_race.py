"""Fixed steps beside their matrix products, spyx, norse, Brian2, rockpool: `python -m benchmarks.speed.grid_race`.

512 recurrent neurons, 32 trials, 500 steps of 0.2 ms, float32, on equal cores; each program in a process of its own,
which take turns. A peer that is not installed is left out. Writes results/speed/grid_step.json.
"""

import argparse
import statistics

from benchmarks.speed import record
from benchmarks.speed.grid_worker import PROGRAMS, STEPS
from benchmarks.speed.race import compete
from benchmarks.table import markdown_table


def main() -> None:
    """Times all programs, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("names", nargs="*", help=f"of {list(PROGRAMS)}; all by default")
    given = parser.parse_args()
    names = given.names or list(PROGRAMS)
    outcomes = compete("benchmarks.speed.grid_worker", {n: {"name": n, "cores": given.cores} for n in names})
    rows, measured = [], []
    floor = min(outcomes[names[0]][1])
    for name, (ready, durations) in outcomes.items():
        if "missing" in ready:
            print(f"{name}: {ready['missing']}")
            continue
        best, median = (1e6 * f(durations) / STEPS for f in (min, statistics.median))
        ratio = 1e-6 * best * STEPS / floor
        rows.append([name, f"{best:.0f}", f"{median:.0f}", f"{ratio:.2f}", f"{ready['spikes']:.2f}"])
        measured.append({"name": name, "best_us": best, "median_us": median, "ratio": ratio, **ready})
    print(markdown_table(["program", "best step, µs", "median, µs", f"over {names[0]}", "spikes per neuron"], rows))
    record.write("grid_step", cores=given.cores, measured=measured)


if __name__ == "__main__":
    main()
