"""Data sets, experiments, training, sweeps and the command line of Credax.

- experiments: `Card`, `Published`, `execute`, `load_networks`, `report`, and `RESULTS`, how one ended
- training: `Training`, `train` (pure), `fit` (progress, checkpoints, resume), `Fit`, `seed_keys`, `Run` (a folder)
- sweeps: `sweep`, `LogRange`, `LinearRange`, `SweepResult`
- files: `datasets`, `save`, `load`
"""

from benchmarks import datasets as datasets
from benchmarks._execute import execute as execute
from benchmarks._execute import load_networks as load_networks
from benchmarks._fit import Fit as Fit
from benchmarks._fit import fit as fit
from benchmarks._fit import seed_keys as seed_keys
from benchmarks._report import report as report
from benchmarks._sweep import LinearRange as LinearRange
from benchmarks._sweep import LogRange as LogRange
from benchmarks._sweep import SweepResult as SweepResult
from benchmarks._sweep import sweep as sweep
from benchmarks.card import Card as Card
from benchmarks.card import Published as Published
from benchmarks.run import Run as Run
from benchmarks.serialise import load as load
from benchmarks.serialise import save as save
from benchmarks.training import RESULTS as RESULTS
from benchmarks.training import Training as Training
from benchmarks.training import train as train
