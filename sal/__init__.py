"""Spiking neurons whose backward weights align themselves: Spike-based Alignment Learning."""

# Neurons
from sal.escape import AbstractEscape as AbstractEscape
from sal.escape import ExponentialEscape as ExponentialEscape
from sal.escape import LogisticEscape as LogisticEscape

# Kernels: postsynaptic potentials and STDP windows
from sal.kernels import AbstractFinite as AbstractFinite
from sal.kernels import AbstractKernel as AbstractKernel
from sal.kernels import Alpha as Alpha
from sal.kernels import DoubleExponential as DoubleExponential
from sal.kernels import Exponential as Exponential
from sal.kernels import Rectangular as Rectangular
from sal.kernels import Triangular as Triangular
from sal.traces import AbstractTrace as AbstractTrace
from sal.traces import AllSpikes as AllSpikes
from sal.traces import LastSpike as LastSpike
