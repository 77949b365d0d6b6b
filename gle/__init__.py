"""Rate neurons that learn online through space and time: Generalized Latent Equilibrium."""

# Other gradients to compare with
# Networks
from gle.activations import linear as linear
from gle.adjoint import adjoint_method as adjoint_method
from gle.adjoint import adjoint_variables as adjoint_variables
from gle.adjoint import algorithm2 as algorithm2
from gle.adjoint import bptt as bptt
from gle.alignment import Exploring as Exploring
from gle.alignment import phaseless as phaseless

# Prediction
from gle.autoregression import autoregress as autoregress
from gle.autoregression import delayed as delayed
from gle.circuit import CircuitSignals as CircuitSignals
from gle.circuit import CircuitState as CircuitState
from gle.circuit import Conductances as Conductances
from gle.connections import AbstractConnection as AbstractConnection
from gle.connections import Conv2d as Conv2d
from gle.connections import Dense as Dense
from gle.connections import Identity as Identity
from gle.costs import AbstractCost as AbstractCost
from gle.costs import CrossEntropy as CrossEntropy
from gle.costs import MeanSquaredError as MeanSquaredError
from gle.coupling import AbstractCoupling as AbstractCoupling
from gle.coupling import Coupled as Coupled
from gle.coupling import DampedNewton as DampedNewton
from gle.coupling import Decoupled as Decoupled
from gle.feedback import AbstractFeedback as AbstractFeedback
from gle.feedback import FeedbackAlignment as FeedbackAlignment
from gle.feedback import KolenPollack as KolenPollack
from gle.feedback import Transpose as Transpose
from gle.feedback import feedback_angle as feedback_angle
from gle.feedback import random_like as random_like
from gle.forward_mode import RFLO as RFLO
from gle.forward_mode import RTRL as RTRL
from gle.gates import AbstractGate as AbstractGate
from gle.gates import Derivative as Derivative
from gle.gates import Threshold as Threshold
from gle.graph import Graph as Graph
from gle.inference import infer as infer
from gle.layers import Layer as Layer

# Learning
from gle.learning import Learner as Learner
from gle.learning import largest_step as largest_step
from gle.learning import online as online
from gle.learning import output_potentials as output_potentials
from gle.learning import settle as settle
from gle.learning import start as start
from gle.least_action import LeastAction as LeastAction
from gle.least_action import LeastActionSignals as LeastActionSignals
from gle.least_action import with_slopes as with_slopes
from gle.microcircuit import Microcircuit as Microcircuit
from gle.microcircuit import circuit_labels as circuit_labels
from gle.natural import fisher_moments as fisher_moments
from gle.natural import natural_gradient as natural_gradient
from gle.network import Network as Network
from gle.noise import NoisyRates as NoisyRates

# Operators
from gle.operators import AbstractCausal as AbstractCausal
from gle.operators import AbstractOperator as AbstractOperator
from gle.operators import Chain as Chain
from gle.operators import DiscountedFuture as DiscountedFuture
from gle.operators import InputAdaptation as InputAdaptation
from gle.operators import LeadLag as LeadLag
from gle.operators import Lookback as Lookback
from gle.operators import Prospective as Prospective
from gle.operators import Retrospective as Retrospective
from gle.operators import TimeConstant as TimeConstant
from gle.operators import VoltageAdaptation as VoltageAdaptation
from gle.operators import gain as gain
from gle.operators import phase_shift as phase_shift

# Parameters
from gle.parameters import at_least as at_least
from gle.parameters import labels as labels
from gle.parameters import only as only
from gle.parameters import weights_only as weights_only
from gle.populations import Population as Population
from gle.populations import Projection as Projection
from gle.results import RESULTS as RESULTS
from gle.rk4 import RK4 as RK4
from gle.signals import Signals as Signals
from gle.signals import State as State
from gle.steppers import AbstractStepper as AbstractStepper
from gle.steppers import Algorithm1 as Algorithm1
from gle.steppers import Instantaneous as Instantaneous
from gle.steppers import Step as Step
from gle.steppers import stability_limit as stability_limit
from gle.system import AbstractSystem as AbstractSystem
from gle.system import Drive as Drive
from gle.system import Moment as Moment
