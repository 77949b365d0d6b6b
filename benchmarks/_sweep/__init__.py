"""Sweeps: an experiment at many settings and seeds, vmapped, sharded, checkpointed."""

from benchmarks._sweep.axes import LinearRange as LinearRange
from benchmarks._sweep.axes import LogRange as LogRange
from benchmarks._sweep.axes import traced as traced
from benchmarks._sweep.result import Failure as Failure
from benchmarks._sweep.result import SweepResult as SweepResult
from benchmarks._sweep.result import merge as merge
from benchmarks._sweep.runner import sweep as sweep
