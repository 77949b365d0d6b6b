"""A BrainScaleS-2 chip to fabricate, calibrate, run and differentiate."""

# What a chip is to its users
from hardware.codes import Codes as Codes
from hardware.device import AbstractDevice as AbstractDevice
from hardware.device import Features as Features
from hardware.device import Measurement as Measurement
from hardware.device import Readings as Readings
from hardware.device import Record as Record
from hardware.device import Stimulus as Stimulus
from hardware.limits import BSS2 as BSS2
from hardware.limits import Limits as Limits
from hardware.placement import Placement as Placement
from hardware.placement import Route as Route
from hardware.units import from_biology as from_biology
from hardware.units import from_seconds as from_seconds
from hardware.units import hxtorch_targets as hxtorch_targets
