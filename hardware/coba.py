"""The searches for conductance-based (COBA) inputs, after all others: references and reversal potentials."""

import jax.numpy as jnp

from hardware import observables
from hardware.bench import EVENT, NEUTRAL, OFF, ROWS, SIGN, Bench, Stage, Wanted, neutral
from hardware.device import Features
from hardware.targets import Targets

HIGH = 200.0
"""LSB: where COBA inputs differ clearly from what they are at their reference."""
TOLERANCE = 30.0
"""Largest residuals of a success, LSB."""


def wanted(targets: Targets) -> dict[str, Wanted]:
    """What COBA inputs shall be, by the names of their codes; nothing if no circuit has any.

    A change of one in the strength that tells it is, of a reference, its distance to the reversal potential E, and of
    that 1 / (1 / (E - HIGH) - 1 / distance).
    """
    exc, inh = targets.e_coba_reversal_exc, targets.e_coba_reversal_inh
    if exc is None or inh is None:
        return {}
    where = ~jnp.isnan(exc) & ~jnp.isnan(inh)
    middle = (targets.leak + targets.threshold) / 2
    found = {}
    for end, given, other in (("exc", exc, 300.0), ("inh", inh, 30.0)):
        asked = getattr(targets, f"e_coba_reference_{end}")
        reversal = jnp.where(jnp.isnan(given), other, given)
        reference = middle if asked is None else jnp.where(jnp.isnan(asked), middle, asked)
        distance = reversal - reference
        by_high = 1 / (1 / (reversal - HIGH) - 1 / distance)
        for kind, value, scale in (("reference", reference, distance), ("reversal", reversal, by_high)):
            found[f"e_{kind}_{end}"] = Wanted(f"e_coba_{kind}_{end}", value, where, scale, TOLERANCE)
    return found


def features(goals: dict[str, Wanted]) -> Features:
    """Of the circuits while they are measured."""
    return Features(conductances=True)


def searches(bench: Bench, goals: dict[str, Wanted]) -> list[Stage]:
    """References and reversal potentials, the strengths of CUBA inputs being known."""
    return [stage for end in ("exc", "inh") for stage in _reversing(bench, goals, end)]


def _reversing(bench: Bench, goals: dict[str, Wanted], end: str) -> tuple[Stage, Stage]:
    """How strong an event is, over what it shall be where the membrane is.

    Near the reference this tells the reference, whatever the reversal potential; far from it, then, the reversal.
    """
    tau, code = getattr(bench.targets, f"tau_syn_{end}"), getattr(bench.targets, f"i_synin_gm_{end}")
    weight = bench.weight(end, code)
    goal = ROWS * weight * code
    reversal, reference = goals[f"e_reversal_{end}"].value, goals[f"e_reference_{end}"].value
    # An inhibitory reversal potential above the reference would look like one below it.
    highest = bench.limits.largest_code if end == "exc" else bench.nominal((reversal + reference) / 2)

    def see(measurement, about, sign):
        how = NEUTRAL, EVENT, sign, reversal, reference
        return observables.relative_strength(measurement, about, *how)

    def stage(name, rising, leak, most):
        def show(found, code):
            on = f"i_synin_gm_{end}"
            changed = {name: jnp.minimum(code, most), "leak": bench.nominal(leak), on: found[on]}
            return bench.shown(found, neutral(found) | OFF | changed, end, weight)

        return Stage(name, rising, goal, show, see, tau, SIGN[end], in_units=True)

    referring = stage(f"e_reference_{end}", end == "exc", reference, bench.limits.largest_code)
    return referring, stage(f"e_reversal_{end}", True, HIGH, highest)
