"""A BrainScaleS-2 chip to fabricate, calibrate, run and differentiate."""

# Fabrication
from hardware.adex_targets import adex_targets as adex_targets
from hardware.calibration import Calibration as Calibration
from hardware.callback import Answer as Answer
from hardware.callback import CallbackDevice as CallbackDevice
from hardware.callback import Driver as Driver
from hardware.callback import Setup as Setup
from hardware.chip import QUIET as QUIET
from hardware.chip import Chip as Chip
from hardware.chip import Noise as Noise

# What a chip is to its users
from hardware.codes import Codes as Codes
from hardware.device import AbstractDevice as AbstractDevice
from hardware.device import Features as Features
from hardware.device import Measurement as Measurement
from hardware.device import Readings as Readings
from hardware.device import Record as Record
from hardware.device import Stimulus as Stimulus
from hardware.emulated import Emulated as Emulated
from hardware.experiment import Experiment as Experiment
from hardware.experiment import Recording as Recording
from hardware.experiment import run as run
from hardware.formats import from_dense as from_dense
from hardware.formats import to_dense as to_dense
from hardware.formats import trace_to_dense as trace_to_dense

# Training in the loop
from hardware.gradients import AbstractGradient as AbstractGradient
from hardware.gradients import FirstSpike as FirstSpike
from hardware.gradients import Followed as Followed
from hardware.gradients import Recorded as Recorded
from hardware.gradients import Replay as Replay
from hardware.ideal import Ideal as Ideal
from hardware.limits import BSS2 as BSS2
from hardware.limits import Limits as Limits
from hardware.loop import in_the_loop as in_the_loop

# The analog matrix-vector mode
from hardware.mac import Conv as Conv
from hardware.mac import Linear as Linear
from hardware.mac import Mac as Mac
from hardware.mac import converting_relu as converting_relu
from hardware.mismatch import CALIBRATED as CALIBRATED
from hardware.mismatch import MEASURED as MEASURED
from hardware.mismatch import NONE as NONE
from hardware.mismatch import Mismatch as Mismatch
from hardware.mismatch import Spread as Spread
from hardware.mixed import Mixed as Mixed
from hardware.mixed import hardware_side as hardware_side
from hardware.mixed import model_side as model_side
from hardware.neuron import Adaptation as Adaptation
from hardware.neuron import Circuit as Circuit
from hardware.neuron import CircuitState as CircuitState
from hardware.neuron import Conductance as Conductance
from hardware.neuron import Rail as Rail
from hardware.neuron import Receptor as Receptor
from hardware.neuron import Upstroke as Upstroke
from hardware.placement import Placement as Placement
from hardware.placement import Route as Route
from hardware.procedure import calibrate as calibrate
from hardware.readout import first_spikes as first_spikes
from hardware.readout import maximum as maximum
from hardware.routing import place as place
from hardware.scaling import measure_scaling as measure_scaling
from hardware.super_spike import SuperSpike as SuperSpike
from hardware.targets import Targets as Targets
from hardware.units import from_biology as from_biology
from hardware.units import from_seconds as from_seconds
from hardware.units import hxtorch_targets as hxtorch_targets
from hardware.weights import keep_in_range as keep_in_range
from hardware.weights import largest_weights as largest_weights
