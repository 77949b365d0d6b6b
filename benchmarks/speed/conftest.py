"""Collects the races of the session, prints their table and writes it to results/speed/training_step.json."""

from dataclasses import asdict

import pytest

from benchmarks.speed import record
from benchmarks.speed.race import Entry, reference

RACES = pytest.StashKey[list[dict]]()


@pytest.fixture(scope="session")
def races(request: pytest.FixtureRequest) -> list[dict]:
    """The races so far: {hidden, batch, cores, entries}."""
    return request.config.stash.setdefault(RACES, [])


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """The table: medians, ratios to Credax, bounds, and spikes lost."""
    finished = config.stash.get(RACES, [])
    if not finished:
        return
    terminalreporter.section("training steps beside other packages")
    for race in finished:
        for line in table(race):
            terminalreporter.write_line(line)
    path = record.write("training_step", races=[plain(race) for race in finished])
    terminalreporter.write_line(f"Written to {path}")


def plain(race: dict) -> dict:
    """A race as JSON knows it."""
    entries = {
        name: {"median_ms": entry.median_ms, "best_ms": entry.best_ms, **asdict(entry)}
        if isinstance(entry, Entry)
        else {"missing": entry}
        for name, entry in race["entries"].items()
    }
    return {**race, "entries": entries}


def table(race: dict) -> list[str]:
    """The lines of one race, in Markdown: median and shortest duration of a step, each with its ratio to Credax'."""
    heads = ("", "step ms", "ratio", "best ms", "ratio", "compile s", "hidden spikes", "lost", "bound", "remark")
    rows = [heads, tuple("-" * max(len(head), 3) for head in heads)]
    for name, entry in race["entries"].items():
        if isinstance(entry, str):
            rows.append((name, *[""] * (len(heads) - 2), entry))
            continue
        ours = race["entries"][reference(name)]
        numbers = (
            entry.median_ms,
            entry.median_ms / ours.median_ms,
            entry.best_ms,
            entry.best_ms / ours.best_ms,
            entry.compile_s,
        )
        spikes = "" if entry.hidden_spikes is None else f"{entry.hidden_spikes:.1f}"
        texts = [f"{number:.4g}" for number in numbers]
        rows.append((name, *texts, spikes, str(entry.spikes_lost), entry.bound, entry.remark))
    plural = "s" if race["cores"] > 1 else ""
    title = f"5-{race['hidden']}-3, batch {race['batch']}, on {race['cores']} core{plural}"
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return ["", title, "", *(f"| {line} |" for line in cells)]
