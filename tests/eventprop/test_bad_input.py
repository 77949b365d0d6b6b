"""Bad input to `simulate` and to the neurons: a clear error, or a count, and never a NaN in silence."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

import eventprop as ep
from tests.eventprop import reference

TIMES, INDEX = np.array([1.0, 4.0, 9.0]), np.array([0, 1, 2])
# What eqx.error_if raises, with and without equinox' own jit.
RUNTIME_ERRORS = (RuntimeError, ValueError)


@eqx.filter_jit
def simulate(times=TIMES, weights=1.0, v=0.0, refractory=0.0, bias=0.0, tau_mem=20.0, throw=True):
    lif = ep.LIF(tau_mem, 5.0, bias=bias)
    network = ep.FeedForward([(ep.Dense(jnp.full((2, 3), weights)), lif)])
    held = jnp.full(2, float(refractory != 0))
    state = ep.NetworkState((ep.LIFState(jnp.full(2, v), jnp.zeros(2), jnp.full(2, refractory), held),))
    spikes, solver = ep.Spikes(jnp.asarray(times), jnp.asarray(INDEX)), ep.Exact(max_spikes=4)
    return ep.simulate(network, spikes, 50.0, solver=solver, state=state, throw=throw)


@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "threshold", "refractory"])
@pytest.mark.parametrize("value", [0.0, -3.0, np.nan])
def test_parameters_must_be_positive(name, value):
    arguments = {"tau_mem": 20.0, "tau_syn": 5.0} | {name: value}
    with pytest.raises(ValueError, match=rf"{name}.*{value}"):
        ep.LIF(**arguments)


def test_reset_must_lie_below_the_threshold():
    with pytest.raises(ValueError, match=r"threshold.*reset"):
        ep.LIF(20.0, 5.0, threshold=1.0, reset=ep.ResetToValue(1.0))


def test_parameters_of_different_length():
    """A ValueError, which the type checker of the test suite forestalls with an error of its own."""
    with pytest.raises((ValueError, jaxtyping.TypeCheckError), match=r"length|tau_syn"):
        ep.LIF(jnp.full(3, 20.0), jnp.full(4, 5.0))


def test_layers_must_fit():
    lif = ep.LIF(20.0, 5.0)
    with pytest.raises(ValueError, match=r"3.*4|4.*3"):
        ep.FeedForward([(ep.Dense(jnp.ones((3, 5))), lif), (ep.Dense(jnp.ones((2, 4))), lif)])
    with pytest.raises(ValueError, match=r"7.*3|3.*7"):
        network = ep.FeedForward([(ep.Dense(jnp.ones((3, 5))), ep.LIF(jnp.full(7, 20.0), 5.0))])
        ep.simulate(network, ep.Spikes(jnp.ones(1), jnp.zeros(1, int)), 10.0, solver=ep.Exact(max_spikes=1))


def test_max_spikes_must_fit_the_layers():
    network = ep.FeedForward([(ep.Dense(jnp.ones((2, 3))), ep.LIF(20.0, 5.0))])
    spikes = ep.Spikes(jnp.asarray(TIMES), jnp.asarray(INDEX))
    for bound in (0, -1, (4, 4)):
        with pytest.raises(ValueError, match="max_spikes"):
            ep.simulate(network, spikes, 10.0, solver=ep.Exact(max_spikes=bound))


def test_unsorted_times():
    with pytest.raises(RUNTIME_ERRORS, match="sort"):
        simulate(times=TIMES[::-1].copy())
    assert simulate(times=TIMES[::-1].copy(), throw=False).result == ep.RESULTS.unsorted_times


def test_nan_times():
    with pytest.raises(RUNTIME_ERRORS, match=r"(?i)nan|sorted|finite"):
        simulate(times=np.array([1.0, np.nan, 9.0]))
    assert simulate(times=np.array([1.0, np.nan, 9.0]), throw=False).result == ep.RESULTS.unsorted_times


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(value):
    with pytest.raises(RUNTIME_ERRORS, match=r"(?i)nan|finite"):
        simulate(weights=value)
    assert simulate(weights=value, throw=False).result == ep.RESULTS.non_finite


def test_traced_time_constant_that_is_negative():
    with pytest.raises(RUNTIME_ERRORS, match=r"(?i)tau_mem|positive|finite"):
        simulate(tau_mem=jnp.asarray(-20.0))
    assert simulate(tau_mem=jnp.asarray(-20.0), throw=False).result == ep.RESULTS.invalid_parameters


@pytest.mark.parametrize("arguments", [{"v": np.nan}, {"v": 1.5, "refractory": 2.0}, {"refractory": -1.0}])
def test_initial_states_that_cannot_be(arguments):
    """A potential above the threshold fires at 0, unless the neuron is held (tests/eventprop/test_windows.py)."""
    with pytest.raises(RUNTIME_ERRORS, match=r"(?i)threshold.*refractory"):
        simulate(**arguments)
    assert simulate(**arguments, throw=False).result == ep.RESULTS.invalid_parameters


def test_a_threshold_below_rest_needs_an_initial_state():
    """At rest nobody is about to fire: that would be a spike out of nothing at the start of each trial."""
    lif = ep.LIF(20.0, 5.0, threshold=jnp.asarray(-1.0), reset=ep.ResetToValue(-2.0))
    network, spikes = ep.FeedForward([(ep.Dense(jnp.ones((1, 1))), lif)]), ep.Spikes(jnp.ones(1), jnp.zeros(1, int))
    solution = ep.simulate(network, spikes, 10.0, solver=ep.Exact(max_spikes=1), throw=False)
    assert solution.result == ep.RESULTS.invalid_parameters
    state = ep.NetworkState((ep.LIFState.free(jnp.full(1, -1.5), jnp.zeros(1)),))
    assert ep.simulate(network, spikes, 10.0, solver=ep.Exact(max_spikes=1), state=state).spikes[0].count() == 1


def test_lost_spikes_are_counted():
    """A bias of 3 fires every tau_mem ln 1.5 = 8.1 ms: six times in 50 ms, where four fit."""
    expected = len(reference.simulate_neuron(TIMES, [0.0] * 3, reference.Neuron(bias=3.0), t1=50.0).spikes)
    assert expected == 6
    with pytest.raises(RUNTIME_ERRORS, match="max_spikes"):
        simulate(weights=0.0, bias=3.0)
    solution = simulate(weights=0.0, bias=3.0, throw=False)
    assert solution.result == ep.RESULTS.spikes_lost
    assert solution.stats["spikes_lost"] == 2 * (expected - 4)
    kept = 20 * np.log(1.5) * np.arange(1, 5)
    np.testing.assert_allclose(solution.spikes[0].times, np.stack([kept, kept]), rtol=1e-5)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"max_spikes": (1, 9)}, r"layer 0 .* lost 8 spike.*`max_spikes`"),
        ({"max_spikes": (3, 2)}, r"layer 1 .* lost 6 spike.*`max_spikes`"),
        ({"max_spikes": (3, 9), "max_events": 10}, r"layer 0 .* lost 2 spike.*`max_events`"),
    ],
)
def test_the_error_for_lost_spikes_names_the_layer_the_number_and_the_bound(bounds, message):
    """Four neurons fire three times each, two neurons downstream five times each; the worst of two trials counts."""
    weights = jnp.full((4, 1), 15.0), jnp.full((2, 4), 2.0)
    layers = [(ep.Dense(weight), ep.LIF(20.0, 5.0)) for weight in weights]

    def run(time):
        solver = ep.Exact(**bounds)
        return ep.simulate(ep.FeedForward(layers), ep.Spikes(time, jnp.zeros(1, int)), 30.0, solver=solver).spikes

    with pytest.raises(RUNTIME_ERRORS, match=message):
        eqx.filter_jit(jax.vmap(run))(jnp.array([[1.0], [jnp.inf]]))


def test_exactly_full_is_not_lost():
    solution = simulate(weights=0.0, bias=2.2, throw=False)  # fires every tau_mem ln(2.2 / 1.2) = 12.1 ms
    assert np.all(np.isfinite(solution.spikes[0].times)) and solution.result == ep.RESULTS.successful
    assert solution.stats["spikes_lost"] == 0


def test_inputs_after_the_end_have_no_effect():
    late = simulate(times=np.array([1.0, 4.0, 60.0]), weights=6.0)
    never = simulate(times=np.array([1.0, 4.0, np.inf]), weights=6.0)
    np.testing.assert_array_equal(late.spikes[0].times, never.spikes[0].times)
    np.testing.assert_array_equal(late.state.neurons[0].i, never.state.neurons[0].i)


def test_source_out_of_range():
    network = ep.FeedForward([(ep.Dense(jnp.ones((2, 3))), ep.LIF(20.0, 5.0))])
    spikes = ep.Spikes(jnp.asarray(TIMES), jnp.array([0, 1, 3]))
    with pytest.raises(RUNTIME_ERRORS, match=r"index|source"):
        ep.simulate(network, spikes, 10.0, solver=ep.Exact(max_spikes=1))
    solution = ep.simulate(network, spikes, 10.0, solver=ep.Exact(max_spikes=1), throw=False)
    assert solution.result == ep.RESULTS.unknown_source


def test_saveat_beyond_ts_is_refused():
    network = ep.FeedForward([(ep.Dense(jnp.ones((2, 3))), ep.LIF(20.0, 5.0))])
    spikes = ep.Spikes(jnp.asarray(TIMES), jnp.asarray(INDEX))
    for saveat in (diffrax.SaveAt(steps=True), diffrax.SaveAt(dense=True)):
        with pytest.raises(ValueError, match="saveat"):
            ep.simulate(network, spikes, 10.0, solver=ep.Exact(max_spikes=1), saveat=saveat)


def test_what_is_of_another_kind_is_named_with_what_to_give(untyped):
    adaptive = ep.ALIF(20.0, ep.CurrentSynapses(5.0), ep.AdaptiveCurrent(0.1, 100.0))
    network = ep.FeedForward([(ep.Dense(jnp.ones((2, 3))), adaptive)])
    spikes, exact = ep.Spikes.from_events([1.0], [0]), ep.Exact(max_spikes=1)
    with pytest.raises(ValueError, match=r"synapses.*CurrentSynapses"):
        ep.ALIF(20.0, 5.0, ep.AdaptiveCurrent(0.1, 100.0))  # pyright: ignore[reportArgumentType]
    for change, message in (
        ({"spikes": [1.0, 2.0]}, r"Spikes\.from_events"),
        ({"solver": exact}, "take Hybrid or Grid"),
        ({"solver": exact, "adjoint": ep.Surrogate(ep.SuperSpike(1.0))}, "Surrogate goes with Grid"),
        ({"adjoint": ep.EventProp()}, "take Hybrid for it"),
        ({"saveat": [1.0]}, r"diffrax\.SaveAt\(ts=times\)"),
    ):
        with pytest.raises(ValueError, match=message):
            ep.simulate(network, t1=10.0, **{"spikes": spikes, "solver": ep.Grid(1.0, 1)} | change)
    solution = ep.Solution((None,), None, None, {}, ep.RESULTS.successful)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="has no closed form: take its potentials from saveat"):
        ep.voltage_maximum(network, spikes, solution, 10.0)


@pytest.mark.parametrize("weight", [1e6, 1e30])
def test_exploding_weights_end_the_trial_with_lost_spikes(weight):
    network = ep.FeedForward([(ep.Dense(jnp.full((1, 1), weight)), ep.LIF(20.0, 5.0))])
    spikes = ep.Spikes.from_events([1.0], [0])
    solution = ep.simulate(network, spikes, jnp.inf, solver=ep.Exact(4), throw=False)
    assert solution.stats["spikes_lost"] == 1000
    assert solution.result == ep.RESULTS.spikes_lost


def test_a_batch_without_members_is_empty():
    """It used to be "zero-size array to reduction operation max", from Equinox."""
    adjoint = ep.Implicit(ep.RaiseTangential())
    network = ep.FeedForward([(ep.Dense(jnp.ones((2, 3))), ep.LIF(20.0, 5.0))])

    def loss(network, spikes):
        def run(trial):
            return ep.simulate(network, trial, 50.0, solver=ep.Exact(4), adjoint=adjoint).spikes[0].times

        times = jax.vmap(run)(spikes)
        return jnp.sum(times), times

    none = ep.Spikes(jnp.zeros((0, 6)), jnp.zeros((0, 6), int))
    (_, times), gradient = eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))(network, none)
    assert times.shape == (0, 2, 4)
    np.testing.assert_array_equal(gradient.layers[0][0].weight, np.zeros((2, 3)))


@pytest.mark.parametrize("t1", [-1.0, np.nan])
def test_a_traced_end_that_is_no_time(t1):
    """NaN used to count as a trial without end."""
    network = ep.FeedForward([(ep.Dense(jnp.ones((2, 3))), ep.LIF(20.0, 5.0))])

    @eqx.filter_jit
    def run(t1, throw):
        spikes = ep.Spikes(jnp.asarray(TIMES), jnp.asarray(INDEX))
        return ep.simulate(network, spikes, t1, solver=ep.Exact(4), throw=throw)

    with pytest.raises(RUNTIME_ERRORS, match="t1"):
        run(jnp.asarray(t1), True)
    assert run(jnp.asarray(t1), False).result == ep.RESULTS.invalid_time
