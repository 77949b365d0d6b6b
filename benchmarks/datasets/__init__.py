"""Data sets as NumPy arrays, in splits that never mix: `load(name)`, or a module's own functions."""

from benchmarks.datasets import cifar10 as cifar10
from benchmarks.datasets import idx as idx
from benchmarks.datasets import mackey_glass as mackey_glass
from benchmarks.datasets import mnist1d as mnist1d
from benchmarks.datasets import speech_commands as speech_commands
from benchmarks.datasets import yinyang as yinyang
from benchmarks.datasets._types import DataSet as DataSet
from benchmarks.datasets._types import Split as Split
from benchmarks.datasets.registry import load as load
