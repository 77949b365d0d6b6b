"""The experiments that the command line knows, one file each."""

from benchmarks.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {}
