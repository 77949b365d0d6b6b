"""Data sets, experiments, sweeps and the command line of Credax."""

# Experiments
from benchmarks.experiment import Experiment as Experiment
from benchmarks.experiment import Published as Published

# Training
from benchmarks.training import RESULTS as RESULTS
from benchmarks.training import Training as Training
from benchmarks.training import train as train
