"""Data sets, experiments, training, sweeps and the command line of Credax.

- experiments: `Card`, `Metric`, `Published`, `execute`, `load_networks`, `load_best`, `load_record`, `report`, and
  `RESULTS`, how one ended
- training: `Training`, `train` (pure), `fit` (progress, checkpoints, resume), `Fit`, `seed_keys`, `seed_number`, `Run`
  (a folder)
- sweeps: `sweep`, `merge` (the shards of one), `LogRange`, `LinearRange`, `traced`, `SweepResult`
- searches: `search` (Optuna), `SearchResult`
- files: `datasets`, `save`, `load`
- `__version__`, of all five packages

Each is imported when it is first used, so that `credax --help` need not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from benchmarks.version import __version__ as __version__

if TYPE_CHECKING:
    from benchmarks import datasets as datasets
    from benchmarks._execute import execute as execute
    from benchmarks._execute import load_best as load_best
    from benchmarks._execute import load_networks as load_networks
    from benchmarks._execute import load_record as load_record
    from benchmarks._fit import Fit as Fit
    from benchmarks._fit import fit as fit
    from benchmarks._fit import seed_keys as seed_keys
    from benchmarks._fit import seed_number as seed_number
    from benchmarks._report import report as report
    from benchmarks._search import SearchResult as SearchResult
    from benchmarks._search import search as search
    from benchmarks._sweep import LinearRange as LinearRange
    from benchmarks._sweep import LogRange as LogRange
    from benchmarks._sweep import SweepResult as SweepResult
    from benchmarks._sweep import merge as merge
    from benchmarks._sweep import sweep as sweep
    from benchmarks._sweep import traced as traced
    from benchmarks.card import Card as Card
    from benchmarks.card import Published as Published
    from benchmarks.metric import Metric as Metric
    from benchmarks.results import RESULTS as RESULTS
    from benchmarks.run import Run as Run
    from benchmarks.serialise import load as load
    from benchmarks.serialise import save as save
    from benchmarks.training import Training as Training
    from benchmarks.training import train as train

_HOME = {
    "_execute": ("execute", "load_best", "load_networks", "load_record"),
    "_fit": ("Fit", "fit", "seed_keys", "seed_number"),
    "_report": ("report",),
    "_search": ("SearchResult", "search"),
    "_sweep": ("LinearRange", "LogRange", "SweepResult", "merge", "sweep", "traced"),
    "card": ("Card", "Published"),
    "metric": ("Metric",),
    "results": ("RESULTS",),
    "run": ("Run",),
    "serialise": ("load", "save"),
    "training": ("Training", "train"),
}
"""The same for `__getattr__`: where each name lives."""
_MODULES = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "datasets":
        return importlib.import_module("benchmarks.datasets")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, "datasets"})
