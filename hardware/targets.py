"""What calibration shall reach, under the names that users of calix know."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from eventprop import AbstractNetwork
from eventprop.failures import error_if
from eventprop.neurons.base import sends_spikes
from eventprop.neurons.noise import without_noise
from eventprop.parameters import as_float, check_positive, is_concrete
from hardware.limits import BSS2, Limits
from hardware.placement import Placement

TOGETHER: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "COBA inputs": (("e_coba_reversal_exc", "e_coba_reversal_inh"), ("e_coba_reference_exc", "e_coba_reference_inh")),
    "an exponential": (("onset", "sharpness"), ()),
    "adaptation": (("adaptation_a", "adaptation_b", "tau_adaptation"), ()),
}
"""Targets that need each other; what may come with them."""
HIGHER = 3.0
"""In sharpnesses: thresholds lie so far above onsets, or else the end of an upstroke tells nothing of it."""


def _target(least: Any, most: Any, default: Any, unit: str) -> Any:
    metadata = {"range": (least, most), "default": default, "unit": unit}
    return dataclasses.field(metadata=metadata) if default is not None else eqx.field(default=None, metadata=metadata)


class Targets(eqx.Module):
    """What each circuit shall be, [circuits]; CADC LSB and µs. Names, ranges and defaults are calix'.

    leak 50-160 (80), reset 50-160 (70), threshold 50-220 (125): LSB; tau_mem .5-60 (10), tau_syn_exc and tau_syn_inh
    .3-30 (10), refractory_time .04-32 (2), holdoff_time 0-4 (0): µs; i_synin_gm_exc and i_synin_gm_inh 30-800 (500),
    the code whose strength, the median over the chip, every circuit shall have; membrane_capacitance 0-63 (63);
    synapse_dac_bias 30-1022 (600), one number for all.

    None (the default), or nan for single circuits, for what a circuit shall not have:

    - COBA, conductance-based inputs: e_coba_reversal_exc 240-400, e_coba_reversal_inh 0-40, LSB at which they do
      nothing; e_coba_reference_exc and e_coba_reference_inh 60-160, where they are as strong as CUBA ones, None for the
      middle of leak and threshold.
    - An exponential: onset 50-200 (V_T) and sharpness 1-10 (Delta_T), LSB. The threshold is where its upstroke ends,
      three times the sharpness above the onset or more.
    - Adaptation, tau w' = a (V - leak) - w, V' = ... - w, a spike: w += b: adaptation_a -.4-.4 (a), 1/µs, a conductance
      over the membrane's capacitance; adaptation_b -3-3 (b), LSB/µs; tau_adaptation 10-300 (tau), µs.
    - A constant current: offset 0-8, LSB/µs.

    The ranges of the last three, and of reversals, are ours.

    spiking: whether the circuit's threshold is on. `Targets.of` makes them for the populations of a network.
    """

    leak: Float[Array, " circuits"] = _target(50, 160, 80, "LSB")
    reset: Float[Array, " circuits"] = _target(50, 160, 70, "LSB")
    threshold: Float[Array, " circuits"] = _target(50, 220, 125, "LSB")
    tau_mem: Float[Array, " circuits"] = _target(0.5, 60, 10, "µs")
    tau_syn_exc: Float[Array, " circuits"] = _target(0.3, 30, 10, "µs")
    tau_syn_inh: Float[Array, " circuits"] = _target(0.3, 30, 10, "µs")
    refractory_time: Float[Array, " circuits"] = _target(0.04, 32, 2, "µs")
    holdoff_time: Float[Array, " circuits"] = _target(0, 4, 0, "µs")
    i_synin_gm_exc: Float[Array, " circuits"] = _target(30, 800, 500, "code")
    i_synin_gm_inh: Float[Array, " circuits"] = _target(30, 800, 500, "code")
    membrane_capacitance: Float[Array, " circuits"] = _target(0, 63, 63, "code")
    synapse_dac_bias: Float[Array, ""] = _target(30, 1022, 600, "code")
    spiking: Bool[Array, " circuits"] = eqx.field(converter=jnp.asarray, default=True)  # pyright: ignore
    e_coba_reversal_exc: Float[Array, " circuits"] | None = _target(240, 400, None, "LSB")
    e_coba_reversal_inh: Float[Array, " circuits"] | None = _target(0, 40, None, "LSB")
    e_coba_reference_exc: Float[Array, " circuits"] | None = _target(60, 160, None, "LSB")
    e_coba_reference_inh: Float[Array, " circuits"] | None = _target(60, 160, None, "LSB")
    onset: Float[Array, " circuits"] | None = _target(50, 200, None, "LSB")
    sharpness: Float[Array, " circuits"] | None = _target(1, 10, None, "LSB")
    adaptation_a: Float[Array, " circuits"] | None = _target(-0.4, 0.4, None, "1/µs")
    adaptation_b: Float[Array, " circuits"] | None = _target(-3, 3, None, "LSB/µs")
    tau_adaptation: Float[Array, " circuits"] | None = _target(10, 300, None, "µs")
    offset: Float[Array, " circuits"] | None = _target(0, 8, None, "LSB/µs")

    def __check_init__(self):
        for what, (needed, others) in TOGETHER.items():
            given = [name for name in (*needed, *others) if getattr(self, name) is not None]
            missing = [name for name in needed if name not in given]
            if given and missing:
                raise ValueError(f"{what} need {' and '.join(needed)}, but there is only {given}.")

    @classmethod
    def default(cls, limits: Limits = BSS2, **targets: Any) -> "Targets":
        """All circuits alike, or one number per circuit, [circuits]; what is not given is calix' default.

        tau_syn, i_synin_gm and e_coba_reference stand for both ends, their names ending in `_exc` and `_inh` for one.
        Raises ValueError for names that are none, for targets out of range, for hold-off times that do not end before
        the refractory ones, for circuits with a part of the targets of an exponential or adaptation or COBA inputs
        only, and for thresholds less than three sharpnesses above the onset.
        """
        values = {name: field.metadata["default"] for name, field in _fields().items()}
        values |= _both_ends(targets)
        filled = {
            name: _at_once(_checked, name, value, limits)
            for name, value in values.items()
            if not (value is None and _may_lack(name))
        }
        holdoff = filled["holdoff_time"]
        check_positive("refractory_time - holdoff_time", filled["refractory_time"], "give less hold-off", minus=holdoff)
        _check_together(filled)
        return cls(**filled, spiking=jnp.ones(limits.circuits, bool))

    @classmethod
    def of(cls, network: AbstractNetwork, placement: Placement, limits: Limits = BSS2, **targets: Any) -> "Targets":
        """Targets for the populations of a placed network: `Targets.of(network, placement, leak=80, tau_mem=(6, 10))`.

        Each is one number for all, or a tuple or list with one entry per population: a number, or one per neuron
        [neurons]. All circuits of a neuron get its number; of n merged ones only the first adapts, with n times
        adaptation_a and adaptation_b. tau_syn, i_synin_gm and e_coba_reference stand for both
        ends; their names ending in `_exc` and `_inh` stand for one. Those of exponentials and adaptation come from a
        model by `adex_targets`. Not given, or None:

        - tau_mem, tau_syn: those of the network's neurons, if they have any (chip's side of a `Mixed`), in µs; of two
          ports the first is the excitatory input, the second the inhibitory;
        - refractory_time: the neurons' `refractory`, if it is a number;
        - everything else, and circuits without a neuron: calix' defaults.

        Populations without spikes (LI readouts) have their threshold off. Raises ValueError as `Targets.default` does,
        for a placement on a larger chip, and for neurons with a bias if there is no offset: nothing here knows how many
        LSB it is.
        """
        if max(int(circuits.max()) for circuits in placement.circuits) >= limits.circuits:
            raise ValueError(f"placement is on a larger chip than limits, of {limits.circuits} circuits: place anew.")
        targets = _both_ends(targets)
        if targets.get("offset") is None:
            _refuse_biases(network)
        for name in ("tau_mem", "tau_syn_exc", "tau_syn_inh", "refractory_time"):
            own, given = tuple(_own_number(neuron, name) for neuron in network.neurons), targets.get(name)
            if given is None and any(value is not None for value in own):
                targets[name] = own
            elif isinstance(given, tuple | list) and len(given) == len(own):
                targets[name] = tuple(mine if one is None else one for one, mine in zip(given, own, strict=True))
        spread = {
            name: value if name == "synapse_dac_bias" else _at_once(_per_circuit, name, value, placement, limits)
            for name, value in targets.items()
        }
        made = cls.default(limits, **spread)
        spiking = np.ones(limits.circuits, bool)
        for neuron, circuits in zip(network.neurons, placement.circuits, strict=True):
            spiking[circuits.ravel()] = sends_spikes(neuron)
        return dataclasses.replace(made, spiking=jnp.asarray(spiking))


def _check_together(filled: dict[str, Array]) -> None:
    """Raise ValueError where a circuit has a part of what belongs together; nothing is known of traced targets."""
    for what, (needed, _) in TOGETHER.items():
        given = [filled[name] for name in needed if name in filled]
        if len(given) == len(needed) and all(is_concrete(each) for each in given):
            lacking = np.stack([np.isnan(np.asarray(each)) for each in given])
            if np.any(lacking.any(axis=0) & ~lacking.all(axis=0)):
                raise ValueError(
                    f"{what} need {' and '.join(needed)} of the same circuits, None or nan for the others."
                )
    if "onset" in filled and "sharpness" in filled:
        onset, sharpness, threshold = filled["onset"], filled["sharpness"], filled["threshold"]
        if all(is_concrete(each) for each in (onset, sharpness, threshold)):
            room = (np.asarray(threshold) - np.asarray(onset)) / np.asarray(sharpness)
            if np.any(room < HIGHER):
                raise ValueError(
                    f"the threshold must lie {HIGHER:g} times the sharpness or more above the onset, but is "
                    f"{np.nanmin(room):g} times it above: there an upstroke ends, which is over at once. Raise it."
                )


def _fields() -> dict[str, Any]:
    return {field.name: field for field in dataclasses.fields(Targets) if "range" in field.metadata}


def _both_ends(targets: dict[str, Any]) -> dict[str, Any]:
    """tau_syn, i_synin_gm and e_coba_reference as two targets each."""
    ends = {"tau_syn", "i_synin_gm", "e_coba_reference"}
    known = {*_fields(), *ends}
    unknown = sorted(set(targets) - known)
    if unknown:
        raise ValueError(f"{unknown} are no targets; there are {sorted(known)}.")
    found = {name: value for name, value in targets.items() if name not in ends}
    for name in ends & set(targets):
        found = {f"{name}_exc": targets[name], f"{name}_inh": targets[name]} | found
    return found


def _own_number(neuron: Any, name: str) -> Any:
    """A target as a model's neuron has it, of the chip's side; None where it has none.

    Of neurons with `synapses` the port 0 is the excitatory input and the last one, 0 or 1, the inhibitory.
    """
    neuron = without_noise(neuron)
    ports = getattr(getattr(neuron, "synapses", None), "tau_syn", ())
    if name.startswith("tau_syn"):
        value = (ports[0] if name.endswith("exc") else ports[-1]) if ports else getattr(neuron, "tau_syn", None)
    else:
        value = getattr(neuron, "refractory" if name == "refractory_time" else name, None)
    value = getattr(value, "hardware", value)
    is_number = isinstance(value, float | int) or hasattr(value, "dtype")
    return value if is_number else None


def _refuse_biases(network: AbstractNetwork) -> None:
    for number, neuron in enumerate(network.neurons):
        bias = _own_number(neuron, "bias")
        if is_concrete(bias) and np.any(np.asarray(bias) != 0):
            raise ValueError(
                f"the neurons of population {number} have the bias {bias}, a constant current: give offset = bias / "
                "tau_mem / trace_scale (LSB/µs), a tuple with one entry per population, or adex_targets(...)."
            )


def _per_circuit(name: str, value: Any, placement: Placement, limits: Limits) -> Array | None:
    """The numbers of populations at their circuits; the default elsewhere, nan where there is none."""
    field = _fields()[name]
    values: Sequence[Any] = value if isinstance(value, tuple | list) else [value] * len(placement.circuits)
    if len(values) != len(placement.circuits):
        raise ValueError(f"{name} has {len(values)} entries, but the network {len(placement.circuits)} populations.")
    default = field.metadata["default"]
    if default is None and all(number is None for number in values):
        return None
    filled = jnp.full(limits.circuits, jnp.nan if default is None else float(default))
    for number, circuits in zip(values, placement.circuits, strict=True):
        if number is not None:
            each = jnp.asarray(as_float(name, number), filled.dtype)
            if each.shape not in ((), circuits.shape[:1]):
                raise ValueError(
                    f"{name} must be one number, or one per neuron, {circuits.shape[:1]}, for each population, but has "
                    f"the shape {each.shape}; give a tuple with one entry per population."
                )
            if name in ("adaptation_a", "adaptation_b"):  # the first circuit adapts for all that are merged
                each = circuits.shape[1] * each
            filled = filled.at[circuits].set(jnp.broadcast_to(each[..., None], circuits.shape))
    return filled


def _may_lack(name: str) -> bool:
    """Whether there are circuits without it."""
    return _fields()[name].metadata["default"] is None


def _checked(name: str, value: Any, limits: Limits) -> Array:
    if value is None:
        raise ValueError(f"{name} must be a number or one per circuit, but is None: each circuit has one.")
    (least, most), unit = _fields()[name].metadata["range"], _fields()[name].metadata["unit"]
    message = f"the target {name} must lie within {least:g} to {most:g} {unit}"
    shape = () if name == "synapse_dac_bias" else (limits.circuits,)
    given = jnp.asarray(as_float(name, value))
    if given.shape not in ((), shape):
        raise ValueError(f"the target {name} must be one number or one per circuit, {shape}, but is {given.shape}.")
    may_lack = _may_lack(name)
    if is_concrete(value):
        outside = ~((np.asarray(value) >= least) & (np.asarray(value) <= most) | may_lack & np.isnan(value))
        if np.any(outside):
            raise ValueError(f"{message}, but is {np.asarray(value)[outside].flat[0]:g}.")
    else:
        inside = (given >= least) & (given <= most) | may_lack & jnp.isnan(given)
        given = error_if(given, ~jnp.all(inside), message + ".")
    return jnp.broadcast_to(jnp.asarray(given, given.dtype), shape)


def _at_once(make: Callable[..., Any], name: str, value: Any, *rest: Any) -> Any:
    """make(name, value, ...), whose result is known within `jax.jit`, too, if the value is: calibration asks for the
    longest time constant."""
    known = all(is_concrete(x) for x in jax.tree.leaves(value))
    with jax.ensure_compile_time_eval() if known else contextlib.nullcontext():
        return make(name, value, *rest)
