"""Runs a registered experiment from a configuration to a summary on disk."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray, PyTree

from benchmarks._fit import Fit, fit, fit_in_one_piece, seed_keys
from benchmarks._sweep.result import DEFAULT_METRIC
from benchmarks.card import Card, check_counts, precision
from benchmarks.errors import CredaxError, InvalidInput, said, unlogged_callbacks
from benchmarks.metric import refuse_test_metric, to_rank_by
from benchmarks.run import Run, plain
from benchmarks.serialise import load, save
from benchmarks.training import Training, train_recorded

MODEL, RECORD = "network.eqx", "record.eqx"


def execute(
    experiment: Card,
    config: Any,
    *,
    seed: int = 0,
    seeds: int = 1,
    resume: bool = False,
    results: str | os.PathLike = "results",
    progress: bool = True,
) -> tuple[Run, Fit]:
    """Runs `experiment` for the seeds `seed`, ..., `seed + seeds - 1`.

    Leaves configuration, metrics, checkpoints, networks and summary in a new folder under `results/NAME`, and the
    record for figures if the experiment makes one.

    With `resume` the newest run with the same configuration and seeds goes on where it stopped. Seeds that fail do
    not raise; they are in `fit.failures` and in summary.json. What cannot be run at all raises and leaves no folder.
    """
    if resume and experiment.training is None:
        raise InvalidInput(f"{experiment.name} runs in one piece and cannot be resumed; leave out --resume.")
    keys = seed_keys(seed, seeds)
    plain(config)  # refuses NaN
    check_counts(config)
    with precision(experiment.double), unlogged_callbacks():
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
            if isinstance(error, CredaxError):
                raise
            changed, reason = _changed(experiment, config), _bad_input(error)
            if changed and reason:
                raise InvalidInput(f"{experiment.name} cannot be run with {changed}: {reason}") from error
            error.add_note(f"This was {experiment.name} with {changed or 'its default settings'}.")
            raise
    settings = {"config": dataclasses.asdict(config), "seed": seed, "seeds": seeds}
    save(run.directory / MODEL, outcome.network, settings)
    if outcome.record is not None:
        save(run.directory / RECORD, outcome.record, settings)
    run.summarise(outcome.metrics, outcome.failures, step_ms=outcome.step_ms, compile_s=outcome.compile_s)
    return run, outcome


def _training(experiment: Card, config: Any) -> Training | None:
    """The experiment's training, before anything is written."""
    if experiment.training is None:
        return None
    try:
        return experiment.training(config)
    except CredaxError:
        raise
    except ValueError as error:
        raise InvalidInput(f"{experiment.name} cannot be run with these settings: {error}") from error


def _bad_input(error: Exception) -> str | None:
    """What the error says of bad input: a `ValueError` of tracing, or one of `eqx.error_if`; None if it is another."""
    if isinstance(error, jax.errors.JaxRuntimeError) and "_EquinoxRuntimeError" in str(error):
        return said(error)
    return str(error) if isinstance(error, ValueError) else None


def _changed(experiment: Card, config: Any) -> str:
    """The settings that are not the default: errors from deep inside do not tell which of them led there."""
    usual = plain(experiment.config())
    return ", ".join(f"{name} = {value}" for name, value in plain(config).items() if value != usual.get(name))


def load_networks(experiment: Card, run: Run) -> PyTree:
    """The networks that a finished `run` of `experiment` ended with, with a leading axis of seeds on every array."""
    return _load(experiment, run, MODEL, lambda config, key: experiment.function(config, key)[1])


def load_record(experiment: Card, run: Run) -> PyTree:
    """The record for figures that a finished `run` of `experiment` made, with a leading axis of seeds on every array.

    Raises `FileNotFoundError` if its experiment makes none.
    """

    def record(config: Any, key: PRNGKeyArray) -> PyTree:
        if experiment.training is None:
            return experiment.function(config, key)[3]
        return train_recorded(experiment.training(config), key)[3]

    return _load(experiment, run, RECORD, record)


def load_best(experiment: Card, run: Run, metric: str = DEFAULT_METRIC) -> tuple[int, PyTree]:
    """The seed that ended with the best `metric`, and its network, among those of a finished `run` that did not fail.

    Best is the highest or the lowest, as the card's `Metric` declares. Raises `ValueError` if the run is not finished,
    has no such metric or no seed with it, or if it is one of the test set, by which nothing may be chosen.
    """
    refuse_test_metric(experiment.metrics, metric)
    summary = run.summary()
    if summary is None:
        raise InvalidInput(f"{run.directory} is not finished: resume it first.")
    known = sorted(name for name, entry in summary.items() if isinstance(entry, dict) and "values" in entry)
    if metric not in known:
        raise InvalidInput(f"{run.directory} has no metric {metric!r}; it has: {', '.join(known)}.")
    values = {int(seed): value for seed, value in summary[metric]["values"].items() if value is not None}
    if not values:
        raise InvalidInput(f"No seed of {run.directory} has succeeded: none is best.")
    best = (max if to_rank_by(experiment.metrics, metric).higher_is_better else min)(values, key=values.__getitem__)
    networks, position = load_networks(experiment, run), run.record["seeds"].index(best)
    return best, jax.tree.map(lambda leaf: leaf[position] if eqx.is_array(leaf) else leaf, networks)


def _load(experiment: Card, run: Run, name: str, function: Callable[[Any, PRNGKeyArray], PyTree]) -> PyTree:
    """What `function` of a configuration and a key returns, as the run saved it."""

    def make(config: dict[str, Any], seed: int, seeds: int) -> PyTree:
        return eqx.filter_vmap(lambda key: function(experiment.config(**config), key))(seed_keys(seed, seeds))

    with precision(experiment.double):
        return load(run.directory / name, make)
