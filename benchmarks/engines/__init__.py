"""Where the tasks of a sweep are run: on this machine, on a Ray cluster, on Slurm."""

from benchmarks.engines._engine import AbstractEngine as AbstractEngine
from benchmarks.engines._engine import Stopped as Stopped
from benchmarks.engines._engine import WorkerDied as WorkerDied
from benchmarks.engines._engine import WrongWorker as WrongWorker
from benchmarks.engines.local import Local as Local
from benchmarks.engines.ray import Ray as Ray
from benchmarks.engines.slurm import Slurm as Slurm
