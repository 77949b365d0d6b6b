"""Data sets as NumPy arrays, in splits that never mix: `load(name)`, or a module's own functions."""

from . import idx as idx
from . import yinyang as yinyang
from ._types import DataSet as DataSet
from ._types import Split as Split
from .registry import load as load
