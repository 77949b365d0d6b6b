"""Gradients of spike times and potentials: reverse mode, forward mode, central differences, closed forms, adjoint.

Central differences use the five-point formula, whose error is of fourth order, at several steps: for each component the
best step counts, since too wide a step meets a spike that appears and too narrow a step drowns in rounding.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import eventprop as ep
from tests.eventprop import reference
from tests.eventprop.adjoint_reference import backward_network
from tests.eventprop.differences import STENCIL, central_differences

EVENTS, SIZES, SLOTS, CASES, T1 = 8, (3, 4, 2), 14, 4, 60.0
SAMPLES = np.array([9.1, 23.0, 47.7])
STEPS = (1e-3, 1e-4, 1.5e-5)


def random_parameters(rng, recover: bool) -> dict:
    """Two layers: the first with one value per neuron, the second with scalars."""
    layers = []
    for size, later in ((3, (4,)), (4, ())):
        neuron = {
            "tau_mem": rng.uniform(10, 25, later),
            "tau_syn": rng.uniform(4, 20, later),
            "threshold": rng.uniform(0.8, 1.2, later),
            "bias": rng.uniform(-0.2, 0.6, later),
        }
        if recover:
            neuron |= {"reset": rng.uniform(-0.3, 0.2, later), "refractory": rng.uniform(1.0, 4.0, later)}
        width = 4 if later else 2
        weights = rng.normal(1.3 if recover else 0.6, 0.6, (size, width))
        state = {"v": rng.uniform(-0.3, 0.5, width), "i": rng.uniform(-0.5, 1.0, width)}
        layers.append({"weights": weights, **neuron, **state})
    return {"times": np.sort(rng.uniform(0, 40, EVENTS)), "layers": layers}


class Case(eqx.Module):
    """What is not differentiated: sources of the input events, and the coefficients of the loss."""

    index: np.ndarray
    spike_costs: tuple
    sample_costs: tuple


def random_case(rng) -> Case:
    spike_costs = tuple(rng.normal(size=(size, SLOTS)) for size in SIZES[1:])
    sample_costs = tuple(rng.normal(size=(len(SAMPLES), size)) for size in SIZES[1:])
    return Case(rng.integers(0, SIZES[0], EVENTS), spike_costs, sample_costs)


def solve(parameters, case) -> ep.Solution:
    layers, state = [], []
    for layer in parameters["layers"]:
        reset = ep.ResetToValue(layer["reset"]) if "reset" in layer else ep.ResetBySubtraction()
        names = ("tau_mem", "tau_syn", "threshold", "bias")
        lif = ep.LIF(**{name: layer[name] for name in names}, reset=reset, refractory=layer.get("refractory"))
        layers.append((ep.Dense(layer["weights"].T), lif))
        state.append(ep.LIFState.free(layer["v"], layer["i"]))
    return ep.simulate(
        ep.FeedForward(layers),
        ep.Spikes(parameters["times"], case.index),
        T1,
        solver=ep.Exact(max_spikes=SLOTS),
        saveat=diffrax.SaveAt(ts=SAMPLES),
        state=ep.NetworkState(tuple(state)),
        throw=False,  # compiles faster; see `loss`
    )


def loss(parameters, case):
    """Sums of c t over the spikes and of d V over the samples, of both layers; NaN if the simulation failed."""
    solution = solve(parameters, case)
    total = 0.0
    for trains, ys, c, d in zip(solution.spikes, solution.ys, case.spike_costs, case.sample_costs, strict=True):
        total += jnp.sum(jnp.where(jnp.isfinite(trains.times), c * trains.times, 0)) + jnp.sum(d * ys)
    return jnp.where(solution.result == ep.RESULTS.successful, total, jnp.nan)


def problem(recover: bool):
    """(flat parameters [cases, n], cases, loss of one flat vector, name of each component)."""
    rng = np.random.default_rng(17)
    parameters = [random_parameters(rng, recover) for _ in range(CASES)]
    cases = jax.tree.map(lambda *leaves: np.stack(leaves), *[random_case(rng) for _ in range(CASES)])
    _, unravel = ravel_pytree(parameters[0])
    flat = np.stack([ravel_pytree(p)[0] for p in parameters])
    paths = jax.tree_util.tree_flatten_with_path(parameters[0])[0]
    names = [jax.tree_util.keystr(path) for path, leaf in paths for _ in range(leaf.size)]
    return flat, cases, lambda x, case: loss(unravel(x), case), np.array(names)


def assert_close(actual, differences, names, rtol=1e-6):
    """Every component agrees with the best step: relative to itself, or to its group where the component is small."""
    error = np.min(np.abs(differences - actual), axis=0)
    group = np.array([np.max(np.abs(actual[names == name])) for name in names])
    bad = error > rtol * np.maximum(np.abs(actual), 1e-2 * group)
    assert not np.any(bad), [(names[k], actual[k], differences[:, k]) for k in np.flatnonzero(bad)]


POINTS = len(STEPS) * len(STENCIL)


def repeated(tree, count: int = POINTS):
    """The leading axis repeated to `count` entries, so that all gradients come from one compiled program."""
    return jax.tree.map(lambda leaf: np.resize(leaf, (count, *leaf.shape[1:])), tree)


class Problem:
    """Parameters, cases and loss, with the gradient of a batch compiled once, and that of the four cases."""

    def __init__(self, recover: bool):
        self.flat, self.cases, self.loss, self.names = problem(recover)
        self.gradient = jax.jit(jax.vmap(jax.grad(self.loss)))
        self.reverse = np.asarray(self.gradient(repeated(self.flat), repeated(self.cases)))[:CASES]

    def case(self, n: int) -> Case:
        return jax.tree.map(lambda leaf: leaf[n], self.cases)


@pytest.fixture(scope="module")
def general():
    """Reset to a value, refractory period."""
    with jax.enable_x64(True):
        return Problem(recover=True)


def test_all_parameters_matter(x64, general):
    reverse, names = general.reverse, general.names
    assert np.all(np.isfinite(reverse))
    assert {name for name in names if np.any(reverse[:, names == name] != 0)} == set(names)


def test_reverse_mode_is_central_differences(x64, general):
    batched = jax.jit(jax.vmap(general.loss, in_axes=(0, None)))
    for n, x in enumerate(general.flat):
        differences = central_differences(
            lambda points, n=n: batched(points, general.case(n)), x, np.eye(x.size), STEPS
        )
        assert_close(general.reverse[n], differences, general.names)


@pytest.mark.slow
def test_forward_mode_is_reverse_mode(x64, general):
    forward = jax.jit(jax.vmap(jax.jacfwd(general.loss)))(general.flat, general.cases)
    np.testing.assert_allclose(forward, general.reverse, rtol=1e-9, atol=1e-10 * np.abs(general.reverse).max())


@pytest.mark.slow
def test_hessian_vector_product(x64, general):
    """Forward over reverse = central differences of the gradient."""
    direction = np.random.default_rng(1).normal(size=general.flat.shape[1])

    def product(x, case):
        return jax.jvp(lambda x: jax.grad(general.loss)(x, case), (x,), (jnp.asarray(direction),))[1]

    products = np.asarray(jax.jit(jax.vmap(product))(general.flat, general.cases))
    for n, x in enumerate(general.flat):
        same = repeated(jax.tree.map(lambda leaf: leaf[None], general.case(n)))
        differences = central_differences(
            lambda points, same=same: general.gradient(points, same), x, direction[None], STEPS
        )
        assert_close(products[n], differences[:, 0], general.names, rtol=1e-5)


@pytest.mark.slow
def test_the_papers_adjoint(x64):
    """Weights, input times and initial state against Table 2 and Eq. 2 in NumPy, forward pass by brute force."""
    paper = Problem(recover=False)
    _, unravel = ravel_pytree(random_parameters(np.random.default_rng(0), False))
    for n in range(CASES):
        parameters, case = jax.tree.map(np.asarray, unravel(paper.flat[n])), paper.case(n)
        incoming, network, weights = (parameters["times"], case.index), [], []
        for layer in parameters["layers"]:
            size = layer["weights"].shape[1]
            columns = np.array([np.broadcast_to(layer[k], size) for k in ("tau_mem", "tau_syn", "threshold", "bias")]).T
            neurons = [reference.Neuron(a, b, c, bias=d) for a, b, c, d in columns]
            network.append(reference.simulate_layer(*incoming, layer["weights"], neurons, T1, layer["v"], layer["i"]))
            weights.append(layer["weights"])
            incoming = reference.events(network[-1])
        events = parameters["times"], case.index
        expected = backward_network(network, *events, weights, case.spike_costs, SAMPLES, case.sample_costs)
        pairs = {"['times']": expected[0].times}
        for depth, layer in enumerate(expected):
            values = {"weights": layer.weights.ravel(), "v": layer.v, "i": layer.i}
            pairs |= {f"['layers'][{depth}]['{name}']": value for name, value in values.items()}
        for name, value in pairs.items():
            actual = paper.reverse[n, paper.names == name]
            np.testing.assert_allclose(actual, value, rtol=1e-9, atol=1e-9 * np.abs(value).max(), err_msg=name)


def test_constant_current_by_autodiff_of_the_closed_form(x64):
    """t_k = tau ln(b / (b - theta)) + (k - 1) (tau ln((b - v_r) / (b - theta)) + r), differentiated by JAX."""
    spikes = ep.Spikes(jnp.full(1, jnp.inf), jnp.zeros(1, int))

    def simulated(tau, bias, reset, theta, refractory):
        lif = ep.LIF(tau, jnp.asarray(5.0), theta, ep.ResetToValue(reset), refractory, bias)
        network = ep.FeedForward([(ep.Dense(jnp.zeros((1, 1))), lif)])
        return ep.simulate(network, spikes, 100.0, solver=ep.Exact(max_spikes=5)).spikes[0].times[0]

    @jax.jit
    def closed(tau, bias, reset, theta, refractory):
        first, interval = jnp.log(bias / (bias - theta)), jnp.log((bias - reset) / (bias - theta))
        times = tau * first + jnp.arange(5) * (tau * interval + refractory)
        return jnp.where(times < 100.0, times, jnp.inf)

    arguments = tuple(jnp.asarray(x) for x in (20.0, 1.7, -0.2, 1.1, 2.5))
    assert 3 <= np.sum(np.isfinite(closed(*arguments))) < 5
    np.testing.assert_allclose(jax.jit(simulated)(*arguments), closed(*arguments), rtol=1e-12)
    finite = np.isfinite(closed(*arguments))
    actual = jax.jit(jax.jacfwd(simulated, argnums=(0, 1, 2, 3, 4)))(*arguments)
    expected = jax.jit(jax.jacfwd(closed, argnums=(0, 1, 2, 3, 4)))(*arguments)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a[finite], b[finite], rtol=1e-10)
        assert np.all(np.asarray(a)[~finite] == 0)


def test_first_spike_by_autodiff_of_the_closed_form(x64):
    """tau_mem = 2 tau_syn: V = a x - b x^2 with x = e^{-t/tau_mem}, a and b sums of w x_k^-1 and w x_k^-2."""
    rng = np.random.default_rng(0)
    times, weights = jnp.sort(jnp.asarray(rng.uniform(0, 5, 6))), jnp.asarray(rng.uniform(0.5, 2.0, 6))

    def simulated(times, weights, theta, tau_syn):
        network = ep.FeedForward([(ep.Dense(weights[None]), ep.LIF(2 * tau_syn, tau_syn, theta))])
        spikes = ep.Spikes(times, jnp.arange(6))
        return ep.simulate(network, spikes, jnp.inf, solver=ep.Exact(max_spikes=5)).spikes[0].first()[0]

    @jax.jit
    def closed(times, weights, theta, tau_syn):
        a = jnp.sum(weights * jnp.exp(times / (2 * tau_syn)))
        b = jnp.sum(weights * jnp.exp(times / tau_syn))
        return -2 * tau_syn * jnp.log((a + jnp.sqrt(a * a - 4 * b * theta)) / (2 * b))

    arguments = times, weights, jnp.asarray(1.0), jnp.asarray(8.0)
    assert closed(*arguments) > times[-1]
    actual = jax.jit(jax.value_and_grad(simulated, argnums=(0, 1, 2, 3)))(*arguments)
    expected = jax.jit(jax.value_and_grad(closed, argnums=(0, 1, 2, 3)))(*arguments)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), actual, expected)
