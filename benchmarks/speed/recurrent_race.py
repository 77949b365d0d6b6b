"""A recurrent training step beside jaxsnn: `python -m benchmarks.speed.recurrent_race`; see docs/results/speed.md.

Hidden neurons that hear each other at once, outputs that fire once, on equal spikes: Credax takes the time
constants and scaled weights that jaxsnn needs. Each has a process of its own, on one core, and they take turns. Writes
results/speed/recurrent_step.json.
"""

from typing import Any

from benchmarks.speed import record
from benchmarks.speed.conftest import plain, table
from benchmarks.speed.peers.with_jaxsnn import SCALE, TAU_SYN_HERE
from benchmarks.speed.race import Entry, race_of

CONTENDERS: dict[str, dict[str, Any]] = {
    "credax": {
        "name": "credax",
        "build": "build_recurrent",
        "options": {"tau_syn": TAU_SYN_HERE, "scale": SCALE},
    },
    "jaxsnn": {"name": "jaxsnn", "options": {"recurrent": True}},
}
SIZES = ((50, 64), (100, 64), (200, 200))
"""Hidden neurons and trials."""


def check_equal(entries: dict[str, Entry | str]) -> None:
    """Raises `RuntimeError` if they do not compute the same."""
    ours, theirs = entries["credax"], entries["jaxsnn"]
    if isinstance(ours, str) or isinstance(theirs, str):
        return
    assert ours.hidden_spikes is not None and theirs.hidden_spikes is not None
    # In float32 a spike in ten thousand may be there or not.
    spikes = abs(ours.hidden_spikes - theirs.hidden_spikes) <= 1e-3 * ours.hidden_spikes
    if not spikes or abs(ours.loss - theirs.loss) > 1e-3 * abs(ours.loss):
        raise RuntimeError(
            f"Spikes differ: {ours.hidden_spikes} of the hidden layer and a loss of {ours.loss} in Credax, "
            f"{theirs.hidden_spikes} and {theirs.loss} in jaxsnn."
        )


def main() -> None:
    """All sizes."""
    races = []
    for hidden, batch in SIZES:
        entries = race_of(CONTENDERS, hidden=hidden, batch=batch, cores=1)
        races.append({"hidden": hidden, "batch": batch, "cores": 1, "entries": entries})
        print("\n".join(table(races[-1])), flush=True)
        check_equal(entries)
    record.write("recurrent_step", races=[plain(race) for race in races])


if __name__ == "__main__":
    main()
