"""Connections and neurons: which way weights point, what they may be made of, and neurons that fire once."""

import pkgutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
from eventprop.connections.weight_rows import rows

# One input at 2 with weight w: V = w (e^-s/20 - e^-s/5) 5 / 15, so with x = e^-s/20: V = w (x - x^4) / 3.
SPIKES = ep.Spikes.from_events([2.0], [1])


def first_crossing(weight: float) -> float:
    """Of the threshold 1, by the roots of the polynomial in x = e^-s/20 (tau_mem = 4 tau_syn = 20)."""
    roots = np.roots([-weight / 3, 0, 0, weight / 3, -1.0])
    return 2.0 - 20.0 * np.log(max(root.real for root in roots if abs(root.imag) < 1e-9 and 0 < root.real < 1))


def run(weight, **options):
    network = ep.FeedForward([(ep.Dense(weight), ep.LIF(20.0, 5.0, **options))])
    return ep.simulate(network, SPIKES, 60.0, solver=ep.Exact(max_spikes=6))


@pytest.mark.parametrize("kind", ["list", "int", "numpy", "jax"])
def test_weight_is_post_by_pre_and_may_be_made_of_anything(precision, kind):
    """Source 1 drives neurons 0 and 2 with 8 and 9; as a list or of integers this was an error of the scan."""
    values = [[0, 8], [7, 1], [0, 9]]
    weight = {
        "list": values,
        "int": jnp.array(values),
        "numpy": np.array(values, np.float64),
        "jax": jnp.array(values, float),
    }[kind]
    connection = ep.Dense(weight)
    assert (connection.neurons, connection.sources) == (3, 2) and connection.weight.dtype == precision
    first = run(weight).spikes[0].first()
    assert first.dtype == precision
    np.testing.assert_allclose(first, [first_crossing(8.0), np.inf, first_crossing(9.0)], rtol=1e-6)


def test_initialisers_of_jax_see_the_right_axes():
    """`lecun_normal` scales by the number of sources."""
    wide = ep.Dense.init(10_000, 4, jax.nn.initializers.lecun_normal(), key=jax.random.key(0))
    assert wide.weight.shape == (4, 10_000)
    np.testing.assert_allclose(jnp.std(wide.weight), 0.01, rtol=0.02)


def test_neurons_that_fire_once(x64):
    """`FiresOnce()` and infinite periods, as a number, an array or traced: the same spikes and derivatives.

    With weight 30 a neuron would fire again, as the one without refractory period does.
    """
    weight = jnp.array([[0.0, 30.0], [0.0, 9.0]])

    def times(weight, refractory):
        return run(weight, refractory=refractory).spikes[0].times

    jacobian = jax.jit(jax.jacrev(times))
    expected, slopes = times(weight, ep.FiresOnce()), jacobian(weight, ep.FiresOnce())
    np.testing.assert_allclose(expected[:, 0], [first_crossing(30.0), first_crossing(9.0)], rtol=1e-12)
    assert np.all(np.isinf(expected[:, 1:])) and np.isfinite(times(weight, None)[0, 1])
    eps = 1e-6
    slope = (first_crossing(30.0 + eps) - first_crossing(30.0 - eps)) / (2 * eps)
    np.testing.assert_allclose(slopes[0, 0, 0, 1], slope, rtol=2e-6)
    for infinite in (jnp.inf, jnp.asarray(jnp.inf), jnp.full(2, jnp.inf)):
        np.testing.assert_allclose(times(weight, infinite), expected, rtol=1e-12)
        np.testing.assert_allclose(jacobian(weight, infinite), slopes, rtol=1e-9, atol=1e-12)


def test_an_infinite_period_is_one_among_other_numbers(x64):
    """A sweep over the period is one program, and the strategy is in the state that is left."""
    periods = jnp.array([1.0, 5.0, jnp.inf])
    weight = [[0.0, 30.0]]
    swept = jax.jit(jax.vmap(lambda period: run(weight, refractory=period).spikes[0].times[0]))(periods)
    assert np.all(np.isfinite(swept[:2, :2])) and np.isinf(swept[2, 1])
    assert swept[0, 1] < swept[1, 1]
    assert run(weight, refractory=ep.FiresOnce()).state.neurons[0].held == 1


def test_rows_of_the_weights(x64, rng):
    """Transposed, in forward and reverse mode, under vmap, and without neurons."""
    weight = jnp.asarray(rng.normal(size=(5, 3, 2)))
    np.testing.assert_array_equal(jax.jit(rows)(weight[0]), weight[0].T)
    np.testing.assert_array_equal(jax.jit(jax.vmap(rows))(weight), np.swapaxes(weight, 1, 2))
    value, tangent = jax.jit(lambda w, d: jax.jvp(rows, (w,), (d,)))(weight[0], weight[1])
    np.testing.assert_array_equal(value, weight[0].T)
    np.testing.assert_array_equal(tangent, weight[1].T)
    gradient = jax.jit(jax.vmap(jax.grad(lambda w: jnp.sum(rows(w) * jnp.arange(6.0).reshape(2, 3)))))(weight)
    np.testing.assert_array_equal(gradient[3], np.arange(6.0).reshape(2, 3).T)
    assert rows(jnp.zeros((0, 3))).shape == (3, 0)
    assert rows(jnp.full((2, 2), jnp.nan)).shape == (2, 2)


def test_python_numbers_are_constants_and_arrays_are_learned():
    """Numbers become arrays in `simulate`, not in the network: what an optimiser gets is what was given as an array."""
    lif = ep.LIF(20, np.float64(5.0), threshold=[1, 2], bias=jnp.asarray(0))
    assert lif.tau_mem == 20.0 and isinstance(lif.tau_mem, float) and isinstance(lif.threshold, jax.Array)
    learned = eqx.filter(lif, eqx.is_inexact_array)
    assert learned.tau_mem is None and learned.threshold.shape == (2,) and learned.bias.shape == ()


def test_no_module_hides_behind_a_public_name():
    """`eventprop.simulate` is the function, so its file is called otherwise."""
    modules = {module.name for module in pkgutil.walk_packages(ep.__path__)}
    assert not modules & {name for name in vars(ep) if callable(getattr(ep, name))}
