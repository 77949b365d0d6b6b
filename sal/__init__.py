"""Spiking neurons whose backward weights align themselves: Spike-based Alignment Learning."""

# Boltzmann distributions
from sal.boltzmann import Boltzmann as Boltzmann
from sal.boltzmann import Moments as Moments
from sal.boltzmann import all_states as all_states
from sal.boltzmann import distribution_moments as distribution_moments
from sal.boltzmann import kl_divergence as kl_divergence
from sal.boltzmann import marginal as marginal
from sal.boltzmann import state_index as state_index

# Connections
from sal.connectivity import AbstractConnectivity as AbstractConnectivity
from sal.connectivity import AbstractSynapses as AbstractSynapses
from sal.connectivity import Layered as Layered
from sal.connectivity import Recurrent as Recurrent

# Dale's law
from sal.dale import dale_pair as dale_pair
from sal.dale import effective_weight as effective_weight
from sal.dale import keep_signs as keep_signs

# Neurons
from sal.escape import AbstractEscape as AbstractEscape
from sal.escape import ExponentialEscape as ExponentialEscape
from sal.escape import LogisticEscape as LogisticEscape

# Deep networks with backward weights of their own
from sal.feedback import Connection as Connection
from sal.feedback import affine_layers as affine_layers
from sal.feedback import angle as angle
from sal.feedback import dense_layers as dense_layers
from sal.feedback import plastic_leaves as plastic_leaves
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
from sal.microcircuit import Compartments as Compartments
from sal.microcircuit import Microcircuit as Microcircuit
from sal.network import AbstractNetwork as AbstractNetwork
from sal.network import Network as Network
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
from sal.pairs import SpikeTimes as SpikeTimes
from sal.rdd import RDDNet as RDDNet
from sal.results import RESULTS as RESULTS

# Learning rules
from sal.rules import align as align
from sal.rules import wake_sleep as wake_sleep
from sal.rules import weight_decay as weight_decay

# Sampling with spikes
from sal.sampling import accumulate as accumulate
from sal.sampling import measure_activities as measure_activities
from sal.sampling import measure_moments as measure_moments
from sal.sampling import overlap_stdp as overlap_stdp
from sal.sampling import refractory_states as refractory_states
from sal.sampling import sample as sample
from sal.sampling import spike_moments as spike_moments
from sal.sampling import state_moments as state_moments
from sal.sampling import wake_moments as wake_moments
from sal.simulation import Solution as Solution
from sal.simulation import simulate as simulate
from sal.spikes import PackedRaster as PackedRaster
from sal.spikes import Raster as Raster
from sal.state import Clamp as Clamp
from sal.state import Snapshot as Snapshot
from sal.state import State as State
from sal.stdp import STDP as STDP
from sal.stdp import Sums as Sums
from sal.stdp import Traces as Traces
from sal.symmnet import AbstractTwin as AbstractTwin
from sal.symmnet import SALNet as SALNet
from sal.symmnet import symmetrize as symmetrize
from sal.tempering import accumulate_tempered as accumulate_tempered
from sal.tempering import energy as energy
from sal.tempering import tempered as tempered

# Theory of two neurons
from sal.theory import SpikeTimingDifferences as SpikeTimingDifferences
from sal.theory import SteadyState as SteadyState
from sal.theory import expected_update as expected_update
from sal.theory import steady_state as steady_state
from sal.theory import two_neurons as two_neurons

# Ways for errors to get back
from sal.transports import AbstractTransport as AbstractTransport
from sal.transports import Fixed as Fixed
from sal.transports import KolenPollack as KolenPollack
from sal.transports import SignConcordant as SignConcordant
from sal.transports import Transpose as Transpose

# Two neurons under SAL
from sal.two_weights import Deviation as Deviation
from sal.two_weights import attractor as attractor
from sal.two_weights import deviation as deviation
from sal.two_weights import phase_plane as phase_plane
from sal.two_weights import relative_deviation as relative_deviation
from sal.two_weights import relaxation as relaxation
