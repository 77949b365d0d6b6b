import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks._execute import execute, load_networks, load_record
from benchmarks.experiments import EXPERIMENTS
from benchmarks.experiments.eventprop.gradient_check.model import GradientCheck, central_differences, check, closest

CHECK = EXPERIMENTS["eventprop-gradient-check"]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """A run, as the command line makes it, in JAX's default precision."""
    return execute(CHECK, GradientCheck(), results=tmp_path_factory.mktemp("results"))


def test_the_gradient_is_exact_and_the_run_is_in_double_precision(outcome):
    run, fit = outcome
    assert fit.failures == {}
    assert fit.metrics["max_relative_deviation"] < 1e-9  # published: 1e-7
    assert fit.metrics["first_neuron_spikes"] >= 4 and fit.metrics["second_neuron_spikes"] >= 4
    assert run.record["environment"]["x64"]
    (connection, _), _ = load_networks(CHECK, run).layers
    assert connection.weight.dtype == np.float64
    np.testing.assert_array_equal(connection.weight, fit.network.layers[0][0].weight)


def test_the_figure_is_drawn_from_what_the_run_saved(outcome, x64):
    run, fit = outcome
    saved = dataclasses.replace(fit, record=load_record(CHECK, run))
    CHECK.figures(GradientCheck(), saved, run.directory)
    assert (run.directory / "gradient_check.png").read_bytes().startswith(b"\x89PNG")


def test_contributions_of_events_add_up_to_the_gradient(outcome, x64):
    found, potentials, (of_inputs, of_chain) = outcome[1].recorded()
    sums = np.zeros(GradientCheck().inputs)
    np.add.at(sums, np.asarray(found.inputs.index), np.asarray(of_inputs.gradient))
    np.testing.assert_allclose(sums, found.exact[:-1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.sum(of_chain.gradient), found.exact[-1], rtol=1e-10)
    assert max(np.max(v) for v in potentials) <= 1.0
    # Events after the last spike of the second neuron move nothing.
    last = np.max(found.solution.spikes[1].times, where=np.isfinite(found.solution.spikes[1].times), initial=0)
    assert not np.any(np.asarray(of_inputs.gradient)[np.asarray(found.inputs.times) > last])


def test_central_differences_of_a_known_function(x64):
    x = jnp.array([0.5, 1.0, 2.0])
    candidates = central_differences(lambda x: jnp.sum(jnp.exp(x)), x)
    np.testing.assert_allclose(candidates, np.broadcast_to(np.exp(x), (3, 3)), rtol=1e-9)


def test_every_weight_gets_its_own_step():
    candidates = jnp.array([[1.0, 5.0, 3.0], [2.0, 4.0, 3.5], [3.0, 3.0, -3.1]])
    np.testing.assert_array_equal(closest(candidates, jnp.array([1.9, 4.9, -3.0])), [2.0, 5.0, -np.float32(3.1)])


def test_single_precision_is_refused(key):
    with pytest.raises(ValueError, match="needs float64: set the environment variable JAX_ENABLE_X64=1"):
        check(GradientCheck(), key)
