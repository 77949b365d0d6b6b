"""Tables for the terminal and for Markdown."""

from collections.abc import Sequence
from typing import Any

from benchmarks.card import Published

LABELS = {"step_ms": "time per step", "compile_s": "compile time"}
UNITS = (("accuracy", 100.0, " %"), ("_ms", 1.0, " ms"), ("_s", 1.0, " s"))


def plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded with spaces, the header underlined."""
    lines = [header, ["-" * max(len(cell) for cell in column) for column in zip(header, *rows, strict=True)], *rows]
    widths = [len(cell) for cell in lines[1]]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def label(metric: str) -> str:
    """A metric's name in words, without its unit."""
    return LABELS.get(metric, metric.removesuffix("_ms").removesuffix("_s").replace("_", " "))


def quantity(metric: str, mean: float | None, std: float | None = None) -> str:
    """A mean, with its standard deviation if that is not zero, in the unit that the metric's name tells."""
    if mean is None:
        return "-"
    scale, unit = _unit(metric)
    digits = ".2f" if scale != 1.0 else _digits(mean)
    spread = f" ± {scale * std:{digits}}" if std else ""
    return f"{scale * mean:{digits}}{spread}{unit}"


def difference(metric: str, ours: float, published: float) -> str:
    """Ours minus published, signed; of accuracies in percentage points."""
    scale, unit = _unit(metric)
    digits = ".2f" if scale != 1.0 else _digits(published)
    return f"{scale * (ours - published):+{digits}}{' points' if scale != 1.0 else unit}"


def final_table(summary: dict[str, Any], published: Sequence[Published] = ()) -> str:
    """What a run ended with: accuracies first, then everything else, the times last; beside the published figures."""
    known = {figure.metric: figure for figure in published}
    names = sorted((name for name in summary if name != "failed"), key=lambda name: (_rank(name), name))
    seeds = max((summary[name]["n"] for name in names), default=0)
    header = ["", f"{seeds} seeds" if seeds > 1 else "this run", *(["published"] if known else [])]
    rows = []
    for name in names:
        row = [label(name), quantity(name, summary[name]["mean"], summary[name]["std"])]
        if known:
            row.append(quantity(name, known[name].mean, known[name].std) if name in known else "")
        rows.append(row)
    return plain_table(header, rows)


def _unit(metric: str) -> tuple[float, str]:
    return next(((scale, unit) for ending, scale, unit in UNITS if metric.endswith(ending)), (1.0, ""))


def _rank(metric: str) -> int:
    if metric.endswith("accuracy"):
        return 0
    return 2 if metric.endswith(("_ms", "_s")) else 1


def _digits(value: float) -> str:
    """The format that shows a value of this size with about four digits; tiny ones as powers of ten."""
    if 0 < abs(value) < 1e-4:
        return ".1e"
    steps = ((1000, 0), (100, 1), (10, 2), (0.1, 3), (0.01, 4))
    return f".{next((decimals for bound, decimals in steps if abs(value) >= bound), 6)}f"
