"""Spiking neurons whose backward weights align themselves: Spike-based Alignment Learning."""

# Boltzmann distributions
from sal.boltzmann import Boltzmann as Boltzmann
from sal.boltzmann import Moments as Moments
from sal.boltzmann import distribution_moments as distribution_moments
from sal.boltzmann import kl_divergence as kl_divergence
from sal.boltzmann import marginal as marginal
from sal.boltzmann import state_index as state_index
from sal.boltzmann import states as states

# Connections
from sal.connectivity import AbstractConnectivity as AbstractConnectivity
from sal.connectivity import Dense as Dense
from sal.connectivity import Layered as Layered

# Neurons
from sal.escape import AbstractEscape as AbstractEscape
from sal.escape import ExponentialEscape as ExponentialEscape
from sal.escape import LogisticEscape as LogisticEscape

# Deep networks with backward weights of their own
from sal.feedback import AbstractTransport as AbstractTransport
from sal.feedback import Connection as Connection
from sal.feedback import Fixed as Fixed
from sal.feedback import KolenPollack as KolenPollack
from sal.feedback import SignConcordant as SignConcordant
from sal.feedback import Transpose as Transpose
from sal.feedback import angle as angle
from sal.feedback import dense_layers as dense_layers
from sal.feedback import layers as layers
from sal.feedback import plastic as plastic
from sal.feedback import with_feedback as with_feedback

# Kernels: postsynaptic potentials and STDP windows
from sal.kernels import AbstractFinite as AbstractFinite
from sal.kernels import AbstractKernel as AbstractKernel
from sal.kernels import AbstractTrace as AbstractTrace
from sal.kernels import Alpha as Alpha
from sal.kernels import DoubleExponential as DoubleExponential
from sal.kernels import Exponential as Exponential
from sal.kernels import LastSpike as LastSpike
from sal.kernels import Rectangular as Rectangular
from sal.kernels import Triangular as Triangular

# Two neurons as the paper's authors calculate them
from sal.legacy import published_differences as published_differences

# Networks
from sal.network import Clamp as Clamp
from sal.network import Moment as Moment
from sal.network import Network as Network
from sal.network import Solution as Solution
from sal.network import State as State
from sal.network import simulate as simulate
from sal.order import AbstractOrder as AbstractOrder
from sal.order import Parallel as Parallel
from sal.order import Sweep as Sweep

# Spike-timing-dependent plasticity
from sal.pairing import AbstractCoincidence as AbstractCoincidence
from sal.pairing import AbstractPairing as AbstractPairing
from sal.pairing import AllPairs as AllPairs
from sal.pairing import Dropped as Dropped
from sal.pairing import LastPairs as LastPairs
from sal.pairing import NearestPairs as NearestPairs
from sal.pairing import Shared as Shared
from sal.pairing import Swept as Swept
from sal.pairing import one_by_one as one_by_one

# Two neurons under SAL
from sal.phase_plane import Deviation as Deviation
from sal.phase_plane import attractor as attractor
from sal.phase_plane import deviation as deviation
from sal.phase_plane import phase_plane as phase_plane
from sal.phase_plane import relative_deviation as relative_deviation
from sal.phase_plane import relaxation as relaxation
from sal.rdd import RDDNet as RDDNet
from sal.results import RESULTS as RESULTS

# Learning rules
from sal.rules import align as align
from sal.rules import kolen_pollack as kolen_pollack
from sal.rules import wake_sleep as wake_sleep

# Sampling with spikes
from sal.sampling import accumulate as accumulate
from sal.sampling import measure as measure
from sal.sampling import overlap as overlap
from sal.sampling import sample as sample
from sal.sampling import spike_moments as spike_moments
from sal.sampling import state_moments as state_moments
from sal.spikes import Raster as Raster
from sal.stdp import STDP as STDP
from sal.stdp import Sums as Sums
from sal.symmnet import AbstractTwin as AbstractTwin
from sal.symmnet import SALNet as SALNet
from sal.symmnet import symmetrize as symmetrize

# Theory of two neurons
from sal.theory import SpikeTimingDifferences as SpikeTimingDifferences
from sal.theory import SteadyState as SteadyState
from sal.theory import expected_update as expected_update
from sal.theory import pair as pair
from sal.theory import steady_state as steady_state
