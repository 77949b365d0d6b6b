"""Spikes of single neurons: right values, closed forms, and their own description beside their equations."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop.golden_neurons import GOLDEN, TIMES
from tests.eventprop.neuron_reference import WRITTEN, of_equations, of_neuron
from tests.eventprop.neuron_table import NEURONS, ONE, T1, Case

KEY = jax.random.key(0)


@pytest.fixture(params=NEURONS)
def case(request) -> Case:
    return NEURONS[request.param]


@pytest.mark.parametrize("route", [of_equations, of_neuron])
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_spikes(x64, name, route):
    golden = GOLDEN[name]
    arrivals = [(t, 0, golden.charge) for t in TIMES] if golden.charge else []
    spikes, end = route(golden.neuron, arrivals, golden.t1)
    digits = 1e-6 if name.startswith("EIF") else 3e-9
    assert len(spikes) == golden.count
    np.testing.assert_allclose(spikes[: len(golden.spikes)], golden.spikes, rtol=0, atol=digits)
    v, adaptation = end[:2] if route is of_equations else (end.v, end.adaptation)
    if golden.v is not None:
        np.testing.assert_allclose(v, golden.v, rtol=0, atol=1e-9)
    if golden.adaptation is not None:
        np.testing.assert_allclose(adaptation, golden.adaptation, rtol=0, atol=2e-9)


def test_patterns_of_adaptation():
    """Intervals as the table of patterns has them: tonic, adapting, accelerating ones."""
    intervals = {
        name: np.diff(of_equations(GOLDEN[f"AdEx {name}"].neuron, [], 500.0)[0])
        for name in ("tonic", "adapting", "delayed accelerating", "irregular")
    }
    tonic, adapting, accelerating, irregular = intervals.values()
    np.testing.assert_allclose([tonic[0], tonic[-1]], [8.928892, 9.585249], rtol=0, atol=1e-6)
    np.testing.assert_allclose(adapting[:5], [11.267769, 14.376105, 19.610120, 29.422597, 47.744005], atol=1e-6)
    np.testing.assert_allclose(adapting[-1], 75.897122, atol=1e-6)
    assert np.all(np.diff(adapting) > 0) and np.all(np.diff(accelerating) < 0)
    np.testing.assert_allclose(accelerating[[0, -1]], [20.593713, 10.695168], atol=1e-6)
    np.testing.assert_allclose(irregular.std() / irregular.mean(), 0.570, atol=1e-3)


def test_every_neuron_is_its_equations(x64, case):
    """Spikes and final states, with receptors, conductances, resets and refractory periods of all kinds."""
    spikes, end = of_neuron(case.neuron, case.arrivals(), T1, KEY)
    once = isinstance(getattr(case.neuron, "refractory", None), ep.FiresOnce)
    assert len(spikes) == 1 if once else len(spikes) >= 2 or isinstance(case.neuron, ep.LI)
    if type(case.neuron) in WRITTEN:
        expected, (v, w, _, *receptors) = of_equations(case.neuron, case.arrivals(), T1)
        np.testing.assert_allclose(spikes, expected, rtol=0, atol=1e-9)
        own = 0.0 if end.adaptation is None else end.adaptation
        np.testing.assert_allclose(np.hstack([end.v, own, *end.synapses]), [v, w, *receptors], rtol=0, atol=1e-8)
    assert case.neuron.valid(end)


def test_exponentials_are_finite_whatever_the_peak(precision):
    """In both precisions, up to a peak of 100 sharpness, with derivatives."""
    neuron = ep.EIF(20.0, ONE, 1e-3, 1.1, bias=1.5)
    v = jnp.concatenate([jnp.linspace(0.9, 1.1, 41, dtype=precision), jnp.array([-1e3, 1e3], precision)])
    rise, slope = jax.vmap(jax.value_and_grad(lambda v: neuron.drift(v, None, jnp.zeros_like(v))[0]))(v)
    chex.assert_tree_all_finite((rise, slope))
    by_sharpness = jax.vmap(
        jax.grad(lambda s, v: ep.EIF(20.0, ONE, s, 1.1).drift(v, None, jnp.zeros_like(v))[0]), in_axes=(None, 0)
    )(jnp.asarray(1e-3, precision), v)
    chex.assert_tree_all_finite(by_sharpness)
    exact = (1.5 - 1.01 + 1e-3 * np.exp(10.0)) / 20
    np.testing.assert_allclose(neuron.drift(jnp.asarray(1.01), None, jnp.zeros(()))[0], exact, rtol=1e-3)


def test_the_height_of_the_peak_hardly_matters(x64):
    """From onset + 10 sharpness on the upstroke takes tau_mem e^-10, and from + 40 on no time at all."""
    low, high, highest = (
        of_neuron(ep.EIF(20.0, ONE, 1e-3, 1 + h * 1e-3, bias=1.5), [], 23.0)[0] for h in (10, 40, 100)
    )
    np.testing.assert_allclose(high - low, 20 * np.exp(-10.0), rtol=0.02)
    np.testing.assert_allclose(high, highest, rtol=0, atol=1e-12)


def test_quadratic_neurons_have_a_closed_form(x64):
    """tau V' = V^2 + I from -10 to 10."""
    neuron = ep.QIF(10.0, ONE, 10.0, -10.0, 0.0, 0.0, bias=0.25)
    spikes, _ = of_neuron(neuron, [], 120.0)
    np.testing.assert_allclose(np.diff(spikes), 60.833517, rtol=0, atol=1e-6)


def test_escape_rates_spend_their_draws(x64):
    """At a constant potential an interval is the refractory period plus draw / rate; draws are by key and number."""
    neuron = ep.EscapeRate(20.0, ONE, ep.ExponentialEscape(8.0, threshold=-0.5), refractory=3.0)
    spikes, end = of_neuron(neuron, [], 100.0, KEY)

    def draw(number):
        return jax.random.exponential(jax.random.fold_in(jax.random.fold_in(KEY, 0), number), dtype=jnp.float64)

    draws = np.array([draw(number) for number in range(len(spikes))])
    assert len(spikes) > 5 and end.draws == len(spikes) + 1
    np.testing.assert_allclose(np.diff(spikes, prepend=-3.0), 3 + draws * 8 / np.exp(0.5), rtol=1e-9)
    assert of_neuron(neuron, [], 20.0, jax.random.key(1))[0][0] != spikes[0]


def test_draws_are_exponential_and_independent():
    """Of 20000 neurons, the first two draws each."""
    neuron = ep.EscapeRate(20.0, ONE, ep.ExponentialEscape(8.0))
    y = neuron.begin(neuron.init(20_000), KEY)
    after = neuron.events[0].jump(0.0, y, KEY)
    for draws in (y.draw, after.draw):
        assert jnp.all(draws > 0)
        fractions = [jnp.mean(draws > x) for x in (0.1, 1.0, 3.0)]
        np.testing.assert_allclose(fractions, np.exp([-0.1, -1.0, -3.0]), atol=0.01)
    assert abs(np.corrcoef(y.draw, after.draw)[0, 1]) < 0.02
    assert abs(np.corrcoef(y.draw[1:], y.draw[:-1])[0, 1]) < 0.02
    chex.assert_trees_all_equal(neuron.begin(y, jax.random.key(5)), y)
