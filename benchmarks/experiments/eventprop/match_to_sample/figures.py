"""What a network makes of two cues: its spikes and readouts in a trial of each kind, and the learning curve."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import eventprop as ep
from benchmarks import style
from benchmarks._fit import Fit
from benchmarks.experiments.eventprop.match_to_sample.model import MatchToSample, MatchToSampleTraining, Trials
from benchmarks.experiments.eventprop.yinyang.figures import draw_curve
from eventprop import plot

KINDS = ("A", "B")
COLOURS = (style.BLUE, style.RED)
ANSWERS = ("different", "same")
SAMPLES = 200
"""Points at which potentials are drawn."""


def draw_trials(config: MatchToSample, fit: Fit, directory: Path) -> None:
    """Writes `training` (PNG, PDF) into a run's directory. Spikes and potentials are those of the run's first seed."""
    network = jax.tree.map(lambda x: x[0] if eqx.is_array(x) else x, fit.network)
    training = MatchToSampleTraining(config)
    trials = _one_of_each(config, training.test_set)
    times = jnp.linspace(0.0, training.duration, SAMPLES)
    solutions = eqx.filter_jit(jax.vmap(lambda spikes: training.simulate(network, spikes, times)))(trials[0])

    figure = Figure(figsize=(style.PAGE, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(2.2, 1.0))  # pyright: ignore[reportGeneralTypeIssues]
    panels = left.subplots(2, len(trials[1]), sharex=True, sharey="row", height_ratios=(1.4, 1.0))
    for number, (column, label) in enumerate(zip(panels.T, np.asarray(trials[1]), strict=True)):
        solution, spikes = jax.tree.map(lambda x: x[number], (solutions, trials[0]))  # noqa: B023
        _draw_spikes(column[0], config, solution.spikes[0], spikes)
        _draw_readouts(column[1], config, np.asarray(times), np.asarray(solution.ys[1]))
        first, second = (KINDS[int(spikes.index[at]) // config.inputs] for at in (0, config.inputs))
        column[0].set_title(f"{first}, then {second}:\n{ANSWERS[label]}")
    panels[0, 0].set_ylabel("inputs (below 0) and hidden neurons")
    panels[1, 0].set_ylabel("readouts")
    panels[1, 0].legend(fontsize="small")
    draw_curve(right.subplots(), fit.history, ())
    style.save(figure, directory / "training")


def _one_of_each(config: MatchToSample, trials: Trials) -> tuple[ep.Spikes, Array]:
    """The first trial of each pair of cues."""
    kinds = np.asarray(trials[0].index)[:, :: config.inputs] // config.inputs
    chosen = np.array([np.argmax((kinds == pair).all(axis=1)) for pair in ((0, 0), (0, 1), (1, 0), (1, 1))])
    return jax.tree.map(lambda x: x[chosen], trials)


def _draw_spikes(axes: Axes, config: MatchToSample, trains: ep.SpikeTrains, inputs: ep.Spikes) -> None:
    plot.raster(trains, axes)
    times, index = (np.asarray(x) for x in (inputs.times, inputs.index))
    for kind, colour in enumerate(COLOURS):
        mine = index // config.inputs == kind
        axes.plot(times[mine], -1.5 - index[mine] / 2, "|", color=colour)
    axes.set(xlabel="", ylabel="")


def _draw_readouts(axes: Axes, config: MatchToSample, times: np.ndarray, potentials: np.ndarray) -> None:
    for potential, answer, line in zip(potentials.T, ANSWERS, ("--", "-"), strict=True):
        axes.plot(times, potential, line, color="black", label=answer)
    axes.axvspan(times[-1] - config.response, times[-1], color="0.9", zorder=0)
    axes.set(xlabel="time (ms)", xlim=(0.0, times[-1]))
