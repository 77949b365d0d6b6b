import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import benchmarks
import eventprop
import gle
import sal
from benchmarks import seed_keys, sweep, train
from benchmarks._fit import fit, fit_in_one_piece, seed_number
from benchmarks.results import enumeration_of, is_successful, message, outcome
from tests.benchmarks.toy import Toy, ToyTraining


class Own(eqx.Enumeration):
    successful = ""
    overheated = "The chip is too hot: wait."


FAILURES = [
    eventprop.RESULTS.spikes_lost,
    gle.RESULTS.non_finite,
    sal.RESULTS.rate_saturated,
    benchmarks.RESULTS.non_finite,
    Own.overheated,
]


@dataclasses.dataclass(frozen=True)
class Config:
    """A configuration."""

    size: float = 1.0


def experiment_with(failure):
    """Fails for seed 1, and is NaN for seed 2."""
    results = enumeration_of(failure)

    def experiment(config: Config, key):
        seed = seed_number(key)
        accuracy = jnp.where(seed == 2, jnp.nan, config.size)
        return {"validation_accuracy": accuracy}, None, results.where(seed == 1, failure, results.successful)

    return experiment


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: enumeration_of(failure).__module__)
def test_any_packages_result_is_known_by_its_message(failure):
    expected = enumeration_of(failure)[failure]
    outcome = fit_in_one_piece(experiment_with(failure), Config(), seed_keys(0, 4))
    assert list(outcome.failures) == [1, 2]
    assert outcome.failures[1] == expected
    # First the metric: what the package says of a simulation that became NaN need not be the reason.
    assert outcome.failures[2].startswith("Not finite: validation_accuracy.")
    swept = sweep(experiment_with(failure), over={"size": (1.0, 2.0)}, seeds=4, progress=False)
    reasons = {(failed.seed, failed.reason) for failed in swept.failures}
    assert reasons == {(1, expected), (2, "Not finite: validation_accuracy.")}


class Saturates(ToyTraining):
    """Ends as sal's networks do whose rates are cut off."""

    def finish(self, state):
        metrics, network, _ = super().finish(state)
        return metrics, network, sal.RESULTS.rate_saturated


def test_a_training_may_end_as_sal_does():
    outcome = fit(Saturates(Toy()), seed_keys(0, 2), progress=False, throw=False)
    assert bool(jnp.all(outcome.result == sal.RESULTS.rate_saturated))
    assert all("above 1 per step" in reason for reason in outcome.failures.values())
    with pytest.raises(RuntimeError, match="above 1 per step"):
        fit(Saturates(Toy()), seed_keys(0, 2), progress=False)
    assert message(train(Saturates(Toy()), jax.random.key(0))[2]) == sal.RESULTS[sal.RESULTS.rate_saturated]


def test_the_outcome_of_many_is_the_first_failure():
    def one(number):
        lost = sal.RESULTS.where(number == 2, sal.RESULTS.rate_saturated, sal.RESULTS.successful)
        return sal.RESULTS.where(number == 3, sal.RESULTS.non_finite, lost)

    results = jax.vmap(one)(jnp.arange(4))
    assert bool(outcome(results) == sal.RESULTS.rate_saturated)
    assert bool(outcome(sal.RESULTS.non_finite, results) == sal.RESULTS.non_finite)
    assert bool(is_successful(jax.jit(outcome)(sal.RESULTS.successful, jax.vmap(one)(jnp.arange(2)))))


@pytest.mark.parametrize("thing", [0, None, "fine", jnp.zeros(())])
def test_what_is_no_result_is_refused(thing):
    with pytest.raises(ValueError, match=r"must be from an eqx\.Enumeration with `successful`"):
        enumeration_of(thing)


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_an_experiment_can_ask_for_its_seeds_number(implementation, precision):
    seeds = [0, 1, 19, 2**31 - 1]
    keys = jnp.stack([jax.random.key(seed, impl=implementation) for seed in seeds])
    np.testing.assert_array_equal(jax.jit(jax.vmap(seed_number))(keys), seeds)
    np.testing.assert_array_equal(seed_number(seed_keys(5, 3)), [5, 6, 7])
