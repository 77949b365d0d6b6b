"""One fabricated chip: what its codes do to each of its circuits, and what it draws anew in runs and trials."""

import dataclasses
import zlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from eventprop.parameters import check_finite, check_not_negative
from hardware.codes import Codes
from hardware.limits import BSS2, Limits
from hardware.mismatch import MEASURED, NONE, Mismatch, draw, draw_two
from hardware.units import CODE_OF_ZERO, CODES_PER_LSB, relative_capacitance

TAU_MEM = 3000.0
"""µs times code: 10 µs at 300."""
TAU_SYN, BEND = 964.1, 390.0
"""µs times code c (1 + c / BEND): 10 µs at 80, 0.3 µs below 1022."""
STRENGTH = 0.09
"""LSB/µs per weight at i_synin_gm 500 and synapse_dac_bias 600: with both tau 10 µs a weight of 50 lifts V by 16.6."""
SHIFT = 0.2
"""Weights per code: the constant current of an input whose reference is off."""
SHARPNESS, ADAPTATION_A, ADAPTATION_B, TAU_ADAPTATION, OFFSET = 0.01, 5e-4, 4e-3, 6000.0, 0.01
"""Per code: LSB, 1/µs, LSB/µs, (µs times code), LSB/µs."""
TAU_RESET = 0.5
POTENTIALS = (
    "leak",
    "reset",
    "threshold",
    "e_reversal_exc",
    "e_reversal_inh",
    "e_reference_exc",
    "e_reference_inh",
    "onset",
)
FACTORS = {
    "tau_mem": "tau_mem",
    "tau_syn_exc": "tau_syn",
    "tau_syn_inh": "tau_syn",
    "capacitance": "capacitance",
    "tau_reset": "tau_reset",
    "sharpness": "sharpness",
    "adaptation_a": "adaptation",
    "adaptation_b": "adaptation",
    "tau_adaptation": "adaptation",
    "offset": "offset",
    "cadc_gain": "cadc_gain",
}
"""Factors of the circuits, and the entry of `Mismatch` that they are drawn with."""


@dataclasses.dataclass(frozen=True)
class Noise:
    """What changes from run to run, and within a trial.

    membrane: white noise, LSB per sqrt(µs); cadc, madc: standard deviation of a sample, LSB of each; threshold: of its
    distance from the leak, standard deviation per circuit and run; jitter: of events' times, standard deviation in µs;
    latency: µs that an event takes to its synapses. Raises ValueError for negative and infinite ones.
    """

    membrane: float = 0.05
    cadc: float = 1.2
    madc: float = 1.65
    threshold: float = 0.015
    jitter: float = 0.03
    latency: float = 0.08

    def __post_init__(self):
        for name, value in vars(self).items():
            check_not_negative(f"noise.{name}", value)
            check_finite(f"noise.{name}", value)


QUIET = Noise(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""No noise at all, and events that arrive at once."""


class Parameters(eqx.Module):
    """All circuits as codes make them, [circuits]: µs, LSB, LSB/µs; capacitance relative."""

    leak: Array
    reset: Array
    threshold: Array
    e_reversal_exc: Array
    e_reversal_inh: Array
    e_reference_exc: Array
    e_reference_inh: Array
    onset: Array
    tau_mem: Array
    tau_syn_exc: Array
    tau_syn_inh: Array
    strength_exc: Array
    strength_inh: Array
    offset: Array
    tau_reset: Array
    refractory: Array
    holdoff: Array
    sharpness: Array
    adaptation_a: Array
    adaptation_b: Array
    tau_adaptation: Array
    capacitance: Array


class Chip(eqx.Module):
    """A chip's hidden parameters; `jax.vmap(Chip.fabricate)(keys)` makes many.

    Codes c become (relative capacitance C = 1 at code 63, factors f of the fixed pattern, 1 without it)

        V = (c - zero) / 2.4,    tau_mem = 3000 C / (f c gear),    tau_syn = 964.1 / (f c (1 + c / 390)),
        strength = 0.09 f (i_synin_gm / 500) (synapse_dac_bias / 600) / C,
        offset = 0.01 f c / C + 0.09 f (i_synin_gm / 500) 0.2 (+-)(synin_shift - right shift) / C,

    with a `zero` of each circuit and potential, and the AdEx part alike. Whoever uses a chip through a device sees none
    of this.
    """

    zero: dict[str, Float[Array, " circuits"]]
    factor: dict[str, Float[Array, " circuits"]]
    right_shift: tuple[Float[Array, " circuits"], Float[Array, " circuits"]]
    cadc_offset: Float[Array, " circuits"]
    cadc_slope: Float[Array, " quadrants"]
    pattern: PRNGKeyArray
    identity: UInt32[Array, "2"]
    mismatch: Mismatch = eqx.field(static=True)
    noise: Noise = eqx.field(static=True)
    limits: Limits = eqx.field(static=True)

    @classmethod
    def fabricate(
        cls, key: PRNGKeyArray, mismatch: Mismatch = MEASURED, noise: Noise = Noise(), limits: Limits = BSS2
    ) -> "Chip":
        """Draw a chip: quadrants first, then their circuits, with the correlations between parameters."""
        circuits, pattern, identity = jax.random.split(key, 3)
        names = [*POTENTIALS, *FACTORS, "synin_shift_exc", "synin_shift_inh", "cadc_offset", "strength", "clamp"]
        keys = dict(zip([*names, "cadc_slope"], jax.random.split(circuits, len(names) + 1), strict=True))
        zero = {name: draw(keys[name], mismatch.potential, limits) for name in POTENTIALS}
        zero["threshold"] = draw(keys["threshold"], mismatch.threshold, limits)
        spreads = mismatch.leak, mismatch.reset
        zero["leak"], zero["reset"] = draw_two(keys["clamp"], spreads, mismatch.correlated_potentials, limits)
        factor = {name: draw(keys[name], getattr(mismatch, entry), limits) for name, entry in FACTORS.items()}
        spreads = mismatch.i_synin_gm, mismatch.i_synin_gm
        strengths = draw_two(keys["strength"], spreads, mismatch.correlated_strengths, limits)
        factor["strength_exc"], factor["strength_inh"] = strengths
        slope = mismatch.cadc_slope.quadrant * jax.random.normal(keys["cadc_slope"], (limits.quadrants,))
        drawn = (310.0 + draw(keys[f"synin_shift_{end}"], mismatch.synin_shift, limits) for end in ("exc", "inh"))
        shifts = tuple(jnp.clip(shift, 10, limits.largest_code - 10) for shift in drawn)
        kind = zlib.crc32(repr((mismatch, limits)).encode())  # chips of one key and another kind are other chips
        return cls(
            {name: CODE_OF_ZERO + x for name, x in zero.items()},
            {name: jnp.exp(x) for name, x in factor.items()},
            (shifts[0], shifts[1]),
            draw(keys["cadc_offset"], mismatch.cadc_offset, limits),
            328.0 + slope,
            pattern,
            jax.random.bits(jax.random.fold_in(identity, kind), (2,), "uint32"),
            mismatch,
            noise,
            limits,
        )

    @classmethod
    def ideal(cls, limits: Limits = BSS2) -> "Chip":
        """A chip without fixed pattern and noise: its default codes hit calix' default targets."""
        return cls.fabricate(jax.random.key(0), NONE, QUIET, limits)

    def parameters(self, codes: Codes) -> Parameters:
        """The circuits that these codes make."""
        f, quadrant = self.factor, self.limits.quadrant()
        capacitance = f["capacitance"] * relative_capacitance(codes.membrane_capacitance, self.limits)
        dac = (codes.synapse_dac_bias / 600)[quadrant]
        gain_exc = STRENGTH * f["strength_exc"] * (codes.i_synin_gm_exc / 500) / capacitance
        gain_inh = STRENGTH * f["strength_inh"] * (codes.i_synin_gm_inh / 500) / capacitance
        shift_exc = SHIFT * gain_exc * (codes.synin_shift_exc - self.right_shift[0])
        shift_inh = SHIFT * gain_inh * (codes.synin_shift_inh - self.right_shift[1])
        period = 2 ** (codes.refractory_clock + 1) / self.limits.clock
        counts = jnp.maximum(codes.refractory_counter, 1.0)
        return Parameters(
            **{name: (getattr(codes, name) - self.zero[name]) / CODES_PER_LSB for name in POTENTIALS},
            tau_mem=TAU_MEM * capacitance / (f["tau_mem"] * _current(codes.tau_mem) * 8**codes.leak_gear),
            tau_syn_exc=_tau_syn(f["tau_syn_exc"], codes.tau_syn_exc),
            tau_syn_inh=_tau_syn(f["tau_syn_inh"], codes.tau_syn_inh),
            strength_exc=gain_exc * dac,
            strength_inh=gain_inh * dac,
            offset=OFFSET * f["offset"] * codes.offset / capacitance + shift_exc - shift_inh,
            tau_reset=TAU_RESET * capacitance * f["tau_reset"],
            refractory=counts * period,
            holdoff=jnp.minimum(2 * (15 - codes.holdoff_time) + 1, 0.9 * counts) * period,
            sharpness=SHARPNESS * f["sharpness"] * _current(codes.sharpness),
            adaptation_a=ADAPTATION_A * f["adaptation_a"] * codes.sign_a * codes.adaptation_a / capacitance,
            adaptation_b=ADAPTATION_B * f["adaptation_b"] * codes.sign_b * codes.adaptation_b / capacitance,
            tau_adaptation=TAU_ADAPTATION / (f["tau_adaptation"] * _current(codes.tau_adaptation)),
            capacitance=capacitance,
        )

    def synapse_gain(
        self, row_pairs: Int[Array, " *synapses"], circuits: Int[Array, " *synapses"], end: int
    ) -> Float[Array, " *synapses"]:
        """The charge per weight of synapses on rows 2 p + end (0: excitatory, 1: inhibitory), 1 without a pattern.

        Drawn from the chip's key at each position, so that only those cost memory that are asked for.
        """
        array, column = circuits // self.limits.columns, circuits % self.limits.columns
        row = array * self.limits.synapse_rows + 2 * row_pairs + end
        synapse = self.mismatch.synapse * _normal_at(self.pattern, row * self.limits.columns + column)
        driver = self.mismatch.driver * _normal_at(jax.random.fold_in(self.pattern, 2**31), row)
        return (1 + synapse) * (1 + driver)

    def drifted(self, parameters: Parameters, key: PRNGKeyArray) -> Parameters:
        """Those of one run: of thresholds a part of their distance from the leak is drawn anew."""
        distance = jnp.abs(parameters.threshold - parameters.leak)
        drift = jax.random.normal(key, distance.shape, distance.dtype)
        threshold = parameters.threshold + self.noise.threshold * distance * drift
        return eqx.tree_at(lambda p: p.threshold, parameters, threshold)


def _current(code: Any) -> Any:
    """A current never vanishes: at code 0 some leaks."""
    return jnp.maximum(code, 0.5)


def _tau_syn(factor: Array, code: Array) -> Array:
    return TAU_SYN / (factor * _current(code) * (1 + code / BEND))


def _normal_at(key: PRNGKeyArray, position: Int[Array, "..."]) -> Float[Array, "..."]:
    """A normal number for each position, always the same one."""
    flat = jax.vmap(lambda place: jax.random.normal(jax.random.fold_in(key, place)))(position.reshape(-1))
    return flat.reshape(position.shape)
