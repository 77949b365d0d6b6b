"""Spiking neurons, events, exact gradients."""

# Gradients through spikes
from eventprop.adjoint import AbstractAdjoint as AbstractAdjoint
from eventprop.adjoint import AbstractTangential as AbstractTangential
from eventprop.adjoint import ClipSlope as ClipSlope
from eventprop.adjoint import EventProp as EventProp
from eventprop.adjoint import Implicit as Implicit
from eventprop.adjoint import RaiseTangential as RaiseTangential
from eventprop.adjoint import ZeroGradient as ZeroGradient

# Networks
from eventprop.connections.base import AbstractConnection as AbstractConnection
from eventprop.connections.conv import Conv as Conv
from eventprop.connections.dense import Dense as Dense
from eventprop.connections.sparse import Sparse as Sparse

# Diagnostics
from eventprop.diagnostics import BufferUse as BufferUse
from eventprop.diagnostics import FlatSpike as FlatSpike
from eventprop.diagnostics import GradientCheck as GradientCheck
from eventprop.diagnostics import LeafCheck as LeafCheck
from eventprop.diagnostics import check_gradients as check_gradients

# Input
from eventprop.encode import Latency as Latency
from eventprop.encode import Poisson as Poisson
from eventprop.initialisers import Normal as Normal

# Learning
from eventprop.learning import signals as signals
from eventprop.losses import first_spike_accuracy as first_spike_accuracy
from eventprop.losses import first_spike_cross_entropy as first_spike_cross_entropy
from eventprop.losses import first_spike_mse as first_spike_mse
from eventprop.losses import first_spike_prediction as first_spike_prediction
from eventprop.losses import moment_regulariser as moment_regulariser
from eventprop.losses import moments as moments
from eventprop.losses import spike_count_prediction as spike_count_prediction
from eventprop.losses import voltage_cross_entropy as voltage_cross_entropy
from eventprop.network import AbstractNetwork as AbstractNetwork
from eventprop.network import FeedForward as FeedForward
from eventprop.network import Network as Network
from eventprop.network import Projection as Projection
from eventprop.network import Recurrent as Recurrent
from eventprop.neurons.adex import AdEx as AdEx
from eventprop.neurons.alif import ALIF as ALIF
from eventprop.neurons.alif import AbstractAdaptation as AbstractAdaptation
from eventprop.neurons.alif import AdaptiveCurrent as AdaptiveCurrent
from eventprop.neurons.alif import AdaptiveThreshold as AdaptiveThreshold
from eventprop.neurons.base import AbstractNeuron as AbstractNeuron
from eventprop.neurons.base import ClosedForm as ClosedForm
from eventprop.neurons.base import Event as Event
from eventprop.neurons.base import Stochastic as Stochastic
from eventprop.neurons.delta import DeltaLI as DeltaLI
from eventprop.neurons.delta import DeltaLIF as DeltaLIF
from eventprop.neurons.delta import DeltaState as DeltaState
from eventprop.neurons.eif import EIF as EIF
from eventprop.neurons.escape import AbstractEscape as AbstractEscape
from eventprop.neurons.escape import EscapeRate as EscapeRate
from eventprop.neurons.escape import EscapeState as EscapeState
from eventprop.neurons.escape import ExponentialEscape as ExponentialEscape
from eventprop.neurons.escape import SigmoidEscape as SigmoidEscape
from eventprop.neurons.izhikevich import Izhikevich as Izhikevich
from eventprop.neurons.li import LI as LI
from eventprop.neurons.li import LIState as LIState
from eventprop.neurons.lif import LIF as LIF
from eventprop.neurons.lif import LIFState as LIFState
from eventprop.neurons.noise import Diffusive as Diffusive
from eventprop.neurons.noise import Noise as Noise
from eventprop.neurons.qif import QIF as QIF
from eventprop.neurons.refractory import FiresOnce as FiresOnce
from eventprop.neurons.reset import AbstractReset as AbstractReset
from eventprop.neurons.reset import ResetBySubtraction as ResetBySubtraction
from eventprop.neurons.reset import ResetToValue as ResetToValue
from eventprop.neurons.spiking import Above as Above
from eventprop.neurons.spiking import AbstractSpiking as AbstractSpiking
from eventprop.neurons.spiking import SpikingState as SpikingState
from eventprop.neurons.synapses import AbstractSynapses as AbstractSynapses
from eventprop.neurons.synapses import ConductanceSynapses as ConductanceSynapses
from eventprop.neurons.synapses import CurrentSynapses as CurrentSynapses
from eventprop.nir_export import to_nir as to_nir
from eventprop.nir_import import from_nir as from_nir
from eventprop.projections import keep_not_negative as keep_not_negative
from eventprop.pseudospikes import add_pseudospikes as add_pseudospikes
from eventprop.remedies import spike_count_regulariser as spike_count_regulariser
from eventprop.remedies import weight_bump as weight_bump

# Simulation
from eventprop.results import RESULTS as RESULTS
from eventprop.simulation import Solution as Solution
from eventprop.simulation import simulate as simulate
from eventprop.solvers.afferents import InFlight as InFlight
from eventprop.solvers.base import AbstractSolver as AbstractSolver
from eventprop.solvers.base import NetworkState as NetworkState
from eventprop.solvers.exact import Exact as Exact
from eventprop.solvers.exponential_euler import ExponentialEuler as ExponentialEuler
from eventprop.solvers.exponential_midpoint import ExponentialMidpoint as ExponentialMidpoint
from eventprop.solvers.grid import Grid as Grid
from eventprop.solvers.hybrid import Hybrid as Hybrid
from eventprop.solvers.replay import Replay as Replay
from eventprop.spikes import Spikes as Spikes
from eventprop.spikes import SpikeTrains as SpikeTrains
from eventprop.spikes import bucket as bucket
from eventprop.surrogate import AbstractPseudoDerivative as AbstractPseudoDerivative
from eventprop.surrogate import Arctan as Arctan
from eventprop.surrogate import Sigmoid as Sigmoid
from eventprop.surrogate import SuperSpike as SuperSpike
from eventprop.surrogate import Surrogate as Surrogate
from eventprop.surrogate import Triangular as Triangular

# Membrane potentials
from eventprop.voltage import VoltagePath as VoltagePath
from eventprop.voltage import voltage_integral as voltage_integral
from eventprop.voltage import voltage_maximum as voltage_maximum
from eventprop.voltage import voltage_path as voltage_path
