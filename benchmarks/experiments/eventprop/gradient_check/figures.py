"""The gradient check as the paper's Fig. 1 draws it: membrane potentials, and gradients that add up from the end."""

from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import eventprop as ep
from benchmarks._fit import seed_keys
from benchmarks.experiments.eventprop.gradient_check.model import (
    Check,
    GradientCheck,
    check,
    network,
    simulate,
    sum_of_times,
    trains,
)
from benchmarks.run import Run
from eventprop import plot

SAMPLES = 4000
"""Points at which membrane potentials are drawn."""
ADDING, WHOLE = "#0072b2", "#d55e00"


class Contributions(NamedTuple):
    """What each event adds to the gradient of the weight it crosses: -tau_syn lambda_I at its time (Eq. 2)."""

    times: Float[np.ndarray | Array, " events"]
    gradient: Float[np.ndarray | Array, " events"]


def draw_check(config: GradientCheck, directory: Path) -> None:
    """Writes `gradient_check.png` into a run's directory, for the run's first seed."""
    key = seed_keys(Run.open(directory).record["seeds"][0], 1)[0]
    times = np.linspace(0.0, config.duration, SAMPLES)
    found, potentials, parts = eqx.filter_jit(evaluate)(config, key, times)
    figure = _draw(found, times, potentials, parts)
    figure.savefig(directory / "gradient_check.png", dpi=130)


def evaluate(
    config: GradientCheck, key: PRNGKeyArray, times: Float[np.ndarray | Array, " samples"]
) -> tuple[Check, Any, tuple[Contributions, Contributions]]:
    """The check, the membrane potentials at `times`, and the contributions of the events."""
    found = check(config, key)
    potentials = simulate(config, found.network, found.inputs, saveat=diffrax.SaveAt(ts=jnp.asarray(times))).ys
    return found, potentials, contributions(config, found)


def contributions(config: GradientCheck, found: Check) -> tuple[Contributions, Contributions]:
    """Those of the inputs' events to the first neuron's weights, and of its spikes to the weight of the chain.

    Every event gets a source, and so a weight, of its own: the derivative with respect to that weight is the event's.
    """
    (inner, _), (chain, neuron) = found.network.layers
    events = found.inputs
    own = ep.Spikes(events.times, jnp.arange(events.times.size, dtype=jnp.int32))

    def of_inputs(charges):
        weights = jnp.append(charges, chain.weight)
        return sum_of_times(trains(simulate(config, network(config, weights), own))[-1])

    spikes, _ = trains(found.solution)[0].merge()
    apart = ep.Spikes(spikes.times, jnp.arange(spikes.times.size, dtype=jnp.int32))

    def of_spikes(charges):
        second = ep.FeedForward([(ep.Dense(charges[None]), neuron)])
        return sum_of_times(trains(simulate(config, second, apart))[-1])

    charges = inner.weight[0, events.index]
    same = jnp.broadcast_to(chain.weight[0, 0], spikes.times.shape)
    return (
        Contributions(events.times, jax.grad(of_inputs)(charges)),
        Contributions(spikes.times, jax.grad(of_spikes)(same)),
    )


def _draw(found: Check, times: np.ndarray, potentials: Any, parts: tuple[Contributions, Contributions]) -> Figure:
    index = np.asarray(found.inputs.index)
    present = np.isfinite(found.inputs.times)
    busiest = int(np.argmax(np.bincount(index[present])))
    of_input = Contributions(*(np.asarray(x)[present & (index == busiest)] for x in parts[0]))
    of_chain = Contributions(*(np.asarray(x)[np.isfinite(parts[1].times)] for x in parts[1]))

    figure = Figure(figsize=(10.0, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2, sharex=True)
    for axes, title, v, spikes, at in zip(
        panels[0],
        (f"first neuron\n(triangles: spikes of input {busiest})", "second neuron\n(triangles: spikes of the first)"),
        potentials,
        found.solution.spikes,
        (of_input.times, of_chain.times),
        strict=True,
    ):
        plot.voltages(times, v, 1.0, spikes, axes)
        axes.plot(at, np.full(at.shape, min(0.0, float(np.min(v))) - 0.12), "^", color="black", markersize=4)
        axes.set(title=title, xlabel="", xlim=(0.0, times[-1]))
    names = (f"weight of input {busiest}", "weight between the neurons")
    for axes, name, part, weight in zip(panels[1], names, (of_input, of_chain), (busiest, -1), strict=True):
        _draw_sum(axes, name, part, float(found.exact[weight]), float(found.numerical[weight]))
    return figure


def _draw_sum(axes: Axes, name: str, part: Contributions, exact: float, numerical: float) -> None:
    """The sum of the contributions at and after each time: from the end of the trial back to its beginning."""
    right = axes.get_xlim()[1]
    behind = np.append(np.cumsum(part.gradient[::-1])[::-1], 0.0)
    axes.step(np.append(part.times, right), behind, where="pre", color=ADDING, label="exact, adding up from the end")
    axes.hlines(behind[0], 0.0, part.times[0], color=ADDING)
    axes.axhline(numerical, color=WHOLE, linestyle="--", label="central differences")
    deviation = abs(numerical - exact) / abs(exact)
    axes.set(
        title=f"gradient of the {name}\n(relative deviation {deviation:.0e})", xlabel="time (ms)", ylabel="dL/dw (ms)"
    )
    axes.legend(fontsize="small")
