"""`rockpool.devices.dynapse.DynapSim`, the model of another mixed-signal chip, of as many recurrent neurons."""

import jax
import numpy as np
from rockpool.devices.dynapse.simulation.dynapsim import DynapSim  # pyright: ignore[reportMissingImports]

from benchmarks.speed.grid_worker import BATCH, NEURONS, Program, problem, raster

SCALE = 0.08
"""Of all weights, with which its neurons fire about as often as the AdEx neurons here."""


def build() -> Program:
    """Its own Euler steps of 1 ms, as many as ours: currents, adaptation, refractory periods."""
    inputs, lateral, _, _ = problem()
    drive = np.asarray(raster() @ (SCALE * inputs.T)).transpose(1, 0, 2)
    chip = DynapSim((NEURONS, NEURONS), has_rec=True, w_rec=SCALE * lateral.T, rng_key=jax.random.PRNGKey(0))
    program = jax.jit(lambda drive: chip.evolve(drive)[0]).lower(drive).compile()
    return lambda: jax.block_until_ready(program(drive)), lambda found: float(found.sum()) / (NEURONS * BATCH)
