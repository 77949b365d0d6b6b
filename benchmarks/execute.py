"""Runs a registered experiment from a configuration to a summary on disk."""

import dataclasses
import os
from typing import Any

import equinox as eqx
from jaxtyping import PyTree

from benchmarks.errors import CredaxError, InvalidInput
from benchmarks.experiment import Experiment, precision
from benchmarks.fit import Fit, fit, fit_in_one_piece, seed_keys
from benchmarks.run import Run, plain
from benchmarks.serialise import load, save
from benchmarks.training import Training

MODEL = "network.eqx"


def execute(
    experiment: Experiment,
    config: Any,
    *,
    seed: int = 0,
    seeds: int = 1,
    resume: bool = False,
    results: str | os.PathLike = "results",
    progress: bool = True,
) -> tuple[Run, Fit]:
    """Runs `experiment` for the seeds `seed`, ..., `seed + seeds - 1`.

    Leaves configuration, metrics, checkpoints, networks and summary in a new folder under `results/NAME`.

    With `resume` the newest run with the same configuration and seeds goes on where it stopped. Seeds that fail do
    not raise; they are in `fit.failures` and in summary.json. What cannot be run at all raises and leaves no folder.
    """
    if resume and experiment.training is None:
        raise InvalidInput(f"{experiment.name} runs in one piece and cannot be resumed; leave out --resume.")
    keys = seed_keys(seed, seeds)
    plain(config)  # refuses NaN
    with precision(experiment.double):
        training = _training(experiment, config)
        run = (Run.find if resume else Run.create)(results, experiment.name, config, seed=seed, seeds=seeds)
        try:
            if training is None:
                outcome = fit_in_one_piece(experiment.function, config, keys)
            else:
                outcome = fit(training, keys, run=run, resume=resume, progress=progress, throw=False)
        except Exception as error:
            if not resume:
                run.discard_if_empty()
            if not isinstance(error, CredaxError):
                error.add_note(_settings(experiment, config))
            raise
    save(run.directory / MODEL, outcome.network, {"config": dataclasses.asdict(config), "seed": seed, "seeds": seeds})
    run.summarise(outcome.metrics, outcome.failures, step_ms=outcome.step_ms, compile_s=outcome.compile_s)
    return run, outcome


def _training(experiment: Experiment, config: Any) -> Training | None:
    """The experiment's training, before anything is written."""
    if experiment.training is None:
        return None
    try:
        return experiment.training(config)
    except CredaxError:
        raise
    except ValueError as error:
        raise InvalidInput(f"{experiment.name} cannot be run with these settings: {error}") from error


def _settings(experiment: Experiment, config: Any) -> str:
    """What was run, as far as it is not the default: errors from deep inside do not tell which setting led there."""
    usual = plain(experiment.config())
    changed = [f"{name} = {value}" for name, value in plain(config).items() if value != usual.get(name)]
    return f"This was {experiment.name} with {', '.join(changed) or 'its default settings'}."


def load_networks(experiment: Experiment, run: Run) -> PyTree:
    """The networks that a finished `run` of `experiment` ended with, with a leading axis of seeds on every array."""

    def make(config: dict[str, Any], seed: int, seeds: int) -> PyTree:
        function = eqx.filter_vmap(lambda key: experiment.function(experiment.config(**config), key)[1])
        return function(seed_keys(seed, seeds))

    with precision(experiment.double):
        return load(run.directory / MODEL, make)
