"""The settings of a chip: digital codes, as floats that hold whole numbers."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eventprop.failures import error_if
from eventprop.parameters import as_float, is_concrete
from hardware.limits import BSS2, Limits
from hardware.quantise import round_to

_Circuits = Float[Array, "*chips circuits"]
_Quadrants = Float[Array, "*chips quadrants"]


def _code(default: float, largest: float = 1022.0, least: float = 0.0, step: float = 1.0) -> Any:
    return dataclasses.field(metadata={"default": default, "largest": largest, "least": least, "step": step})


class Codes(eqx.Module):
    """What a configuration sets, under the names of what it sets: one number per circuit [512] (or quadrant [4]).

    CapMem codes, 0 to 1022: potentials rise with them (leak, reset, threshold, onset, e_reversal, e_reference), and so
    do strengths (i_synin_gm, synapse_dac_bias, sharpness, adaptation_a, adaptation_b, offset) and rates, the inverses
    of time constants (tau_mem, tau_syn, tau_adaptation). `synin_shift` moves the reference of a synaptic input: only
    one code leaves the membrane alone, each circuit its own. The ends `_exc` and `_inh` name the two inputs.

    Digital ones: membrane_capacitance 0 to 63; refractory_counter 0 to 255 periods of 2^(refractory_clock + 1) / 250
    µs, refractory_clock 0 to 15; holdoff_time 0 to 15, 2 (15 - code) + 1 periods at the end of the refractory period
    in which the clamp is open already; leak_gear -1, 0, 1 for a leak divided by 8, as it is, or multiplied by 8;
    sign_a, sign_b -1 or 1; cadc_offset -128 to 127, added to the samples of a channel.

    Floats, so that gradients reach them; `check` tells what the chip would refuse. Build it with `Codes.default()` and
    change it with `dataclasses.replace`.
    """

    leak: _Circuits = _code(214.0)
    reset: _Circuits = _code(190.0)
    threshold: _Circuits = _code(322.0)
    tau_mem: _Circuits = _code(300.0)
    tau_syn_exc: _Circuits = _code(80.0)
    tau_syn_inh: _Circuits = _code(80.0)
    i_synin_gm_exc: _Circuits = _code(500.0)
    i_synin_gm_inh: _Circuits = _code(500.0)
    synin_shift_exc: _Circuits = _code(310.0)
    synin_shift_inh: _Circuits = _code(310.0)
    e_reversal_exc: _Circuits = _code(742.0)
    e_reversal_inh: _Circuits = _code(94.0)
    e_reference_exc: _Circuits = _code(214.0)
    e_reference_inh: _Circuits = _code(214.0)
    onset: _Circuits = _code(310.0)
    sharpness: _Circuits = _code(400.0)
    adaptation_a: _Circuits = _code(0.0)
    adaptation_b: _Circuits = _code(0.0)
    tau_adaptation: _Circuits = _code(60.0)
    offset: _Circuits = _code(0.0)
    membrane_capacitance: _Circuits = _code(63.0, 63.0)
    refractory_counter: _Circuits = _code(250.0, 255.0)
    refractory_clock: _Circuits = _code(0.0, 15.0)
    holdoff_time: _Circuits = _code(15.0, 15.0)
    leak_gear: _Circuits = _code(0.0, 1.0, -1.0)
    sign_a: _Circuits = _code(1.0, 1.0, -1.0, step=2.0)
    sign_b: _Circuits = _code(1.0, 1.0, -1.0, step=2.0)
    cadc_offset: _Circuits = _code(0.0, 127.0, -128.0)
    cadc_slope: _Quadrants = _code(328.0)
    synapse_dac_bias: _Quadrants = _code(600.0)

    @classmethod
    def default(cls, limits: Limits = BSS2, **codes: Any) -> "Codes":
        """calix' default targets on a chip without mismatch; `codes` by name, a number or one per circuit.

        Raises ValueError for names that are none, and for other shapes.
        """
        names = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(codes) - set(names))
        if unknown:
            raise ValueError(f"{unknown} are no codes; there are {sorted(names)}.")
        values = {name: codes.get(name, field.metadata["default"]) for name, field in names.items()}
        filled = {}
        for name, value in values.items():
            number, shape = jnp.asarray(as_float(f"codes.{name}", value), float), (_length(name, limits),)
            if number.shape not in ((), shape):
                raise ValueError(f"codes.{name} must be one number or {shape}, but has the shape {number.shape}.")
            filled[name] = jnp.broadcast_to(number, shape)
        return cls(**filled)

    def rounded(self) -> "Codes":
        """The nearest codes that the chip has: rounded, then saturated, with derivatives straight through.

        So codes can be learned: keep floats, and give the chip `codes.rounded()`.
        """
        rounded = {}
        for field in dataclasses.fields(self):
            value, least, largest, step = getattr(self, field.name), *_range(field)
            steps = round_to((value - least) / step, 0, (largest - least) / step)
            rounded[field.name] = least + step * steps
        return Codes(**rounded)

    def of_size(self, limits: Limits) -> "Codes":
        """The same. Raises ValueError if they are those of a chip with another number of circuits."""
        for field in dataclasses.fields(self):
            length, shape = _length(field.name, limits), jnp.shape(getattr(self, field.name))
            if shape[-1:] != (length,):
                raise ValueError(f"codes.{field.name} has the shape {shape}, but this chip has {length} of them.")
        return self

    def check(self, whole: bool = True) -> "Codes":
        """The same. Raises ValueError for codes that are no whole numbers in range; traced ones, when they run.

        whole: False lets them lie between whole numbers.
        """
        checked = {}
        for field in dataclasses.fields(self):
            value, (least, largest, step) = getattr(self, field.name), _range(field)
            if largest - least == step:
                message = f"codes.{field.name} must be {least:g} or {largest:g}"
            else:
                message = f"codes.{field.name} must be {'whole ' if whole else ''}numbers from {least:g} to {largest:g}"
            step = step if whole else None
            if is_concrete(value):
                bad = ~_in_range(np.asarray(value), least, largest, step)
                if np.any(bad):
                    raise ValueError(f"{message}, but holds {np.asarray(value)[bad].flat[0]:g}: round and clip it.")
                checked[field.name] = value
            else:
                fixed = jax.lax.stop_gradient(value)
                checked[field.name] = error_if(
                    value, ~_in_range(fixed, least, largest, step), f"{message}: round and clip."
                )
        return Codes(**checked)


def _length(name: str, limits: Limits) -> int:
    return limits.quadrants if name in ("cadc_slope", "synapse_dac_bias") else limits.circuits


def _range(field: dataclasses.Field) -> tuple[float, float, float]:
    """The least and the largest code, and the step between codes."""
    return field.metadata["least"], field.metadata["largest"], field.metadata["step"]


def _in_range(value: Any, least: float, largest: float, step: float | None) -> Any:
    return (value >= least) & (value <= largest) & (step is None or (value - least) % step == 0)
