"""Sweeps: an experiment at many settings and seeds, vmapped, sharded, checkpointed."""

from benchmarks.sweep.axes import LinearRange as LinearRange
from benchmarks.sweep.axes import LogRange as LogRange
from benchmarks.sweep.result import Failure as Failure
from benchmarks.sweep.result import SweepResult as SweepResult
from benchmarks.sweep.result import merge as merge
from benchmarks.sweep.runner import sweep as sweep
