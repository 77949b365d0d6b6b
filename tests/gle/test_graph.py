"""Networks of any topology: against `Network`, against the gradient of their fixed point, and against NumPy in time."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gle
from tests.gle.networks import arrays, network, stream


class Scaled(eqx.Module):
    """tanh(gain x), with a gain that learns."""

    gain: jax.Array

    def __call__(self, x):
        return jnp.tanh(self.gain * x)


def graph(rng, projections, sizes=(4, 5, 2), sources=3, **options):
    """Populations of tanh neurons, the last one linear, with small random weights."""

    def dense(source, target):
        ahead = sources if source is None else sizes[source]
        weight = jnp.asarray(rng.normal(size=(sizes[target], ahead)) / (2 * np.sqrt(ahead)))
        return gle.Projection(source, target, gle.Dense(weight, jnp.asarray(0.1 * rng.normal(size=sizes[target]))))

    def population(number, size):
        tau_m, tau_r = rng.uniform(0.5, 2, size), rng.uniform(0.5, 2, size)
        return gle.Population(size, tau_m, tau_r, gle.linear if number == len(sizes) - 1 else jnp.tanh)

    populations = [population(number, size) for number, size in enumerate(sizes)]
    return gle.Graph(populations, [dense(*pair) for pair in projections], gle.MeanSquaredError(), **options)


CHAIN = [(None, 0), (0, 1), (1, 2)]
SKIPS = [*CHAIN, (None, 2), (0, 2)]
LOOPS = [*SKIPS, (1, 1), (2, 0), (1, 0)]


@pytest.mark.parametrize("coupling", [gle.Decoupled(), gle.Coupled(0.2)])
def test_a_chain_is_a_network(x64, rng, coupling):
    """Signals, gradients, those of an activation too, equilibrium and energy."""
    layered = network(jax.random.key(0), (3, 5, 2), beta=0.3, coupling=coupling)
    layered = eqx.tree_at(lambda x: x.layers[0].activation, layered, Scaled(jnp.asarray(0.7)))
    chained = gle.Graph(
        [gle.Population(x.connection.neurons, x.tau_m, x.tau_r, x.activation) for x in layered.layers],
        [gle.Projection(n - 1 if n else None, n, x.connection) for n, x in enumerate(layered.layers)],
        layered.cost,
        beta=0.3,
        coupling=coupling,
    )
    x, y = jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(4, 2)))
    state = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), layered.init((4,)))
    ours, theirs = chained.signals(state, x, y), layered.signals(state, x, y)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    gradient, wanted = chained.plasticity(ours), layered.plasticity(theirs)
    for n, layer in enumerate(wanted.layers):
        population = gradient.populations[n]
        found = (gradient.projections[n].connection, population.tau_m, population.tau_r, population.activation)
        for a, b in zip(
            arrays(found), arrays((layer.connection, layer.tau_m, layer.tau_r, layer.activation)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(chained.energy(ours, y), layered.energy(theirs, y), rtol=1e-12)
    np.testing.assert_allclose(chained.loss(ours), layered.loss(theirs), rtol=1e-12)
    for a, b in zip(
        jax.tree.leaves(chained.equilibrium(x, y)), jax.tree.leaves(layered.equilibrium(x, y)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("projections", [SKIPS, LOOPS])
def test_at_rest_plasticity_is_the_gradient_of_the_fixed_point(x64, rng, projections):
    """Against JAX's reverse mode through a fixed-point iteration, which knows nothing of errors."""
    system = graph(rng, projections)
    x, y = jnp.asarray(rng.normal(size=(6, 3))), jnp.asarray(rng.normal(size=(6, 2)))

    def cost(system):
        rates = [jnp.zeros((6, p.size)) for p in system.populations]
        for _ in range(150):
            currents = [jnp.zeros_like(r) for r in rates]
            for p in system.projections:
                pre = x if p.source is None else rates[p.source]
                currents[p.target] += pre @ p.connection.weight.T + p.connection.bias[None]
            rates = [p.activation(current) for p, current in zip(system.populations, currents, strict=True)]
        return jnp.mean(0.5 * jnp.sum((rates[-1] - y) ** 2, axis=-1))

    state = system.equilibrium(x, y)
    signals = system.signals(state, x, y)
    assert (
        max(float(jnp.max(jnp.abs(dx))) for dx in jax.tree.leaves(signals.derivative)) < 1e-12
    )  # 10 times the finder's
    wanted = eqx.filter_grad(cost)(system)
    for a, b in zip(arrays(system.plasticity(signals).projections), arrays(wanted.projections), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_learning_through_time_equals_numpy(x64, rng):
    """Forward Euler and plain descent with loops; NumPy repeats the equations of a moment until they hold."""
    system, dt, rate = graph(rng, LOOPS, beta=0.5), 0.05, 0.1
    inputs, targets = stream(rng, 30, 2, 3, 2)
    learner, outputs, _ = gle.online(
        gle.start(system, optax.sgd(rate), batch=(2,)), inputs, targets, dt=dt, optimiser=optax.sgd(rate)
    )

    weight, bias = ([np.array(getattr(p.connection, name)) for p in system.projections] for name in ("weight", "bias"))
    ends = [(p.source, p.target) for p in system.projections]
    tau_m, tau_r = ([np.array(getattr(p, name)) for p in system.populations] for name in ("tau_m", "tau_r"))
    phi = [np.tanh, np.tanh, lambda x: x]
    slope = [lambda x: 1 - np.tanh(x) ** 2] * 2 + [np.ones_like]
    u, v = ([np.zeros((2, p.size)) for p in system.populations] for _ in range(2))
    for x, y, output in zip(np.asarray(inputs), np.asarray(targets), np.asarray(outputs), strict=True):
        r, e = [np.zeros_like(a) for a in u], [np.zeros_like(a) for a in u]
        for _ in range(400):
            currents = [np.zeros_like(a) for a in u]
            for p, w, b in zip(ends, weight, bias, strict=True):
                currents[p[1]] = currents[p[1]] + (x if p[0] is None else r[p[0]]) @ w.T + b
            du = [(-a + c) / tau for a, c, tau in zip(u, currents, tau_m, strict=True)]
            potential = [a + tau * d for a, d, tau in zip(u, du, tau_r, strict=True)]
            r = [f(a) for f, a in zip(phi, potential, strict=True)]
            arriving = [np.zeros_like(a) for a in u]
            for p, w in zip(ends, weight, strict=True):
                if p[0] is not None:
                    arriving[p[0]] = arriving[p[0]] + e[p[1]] @ w
            instant = [f(a) * b for f, a, b in zip(slope, potential, arriving, strict=True)]
            instant[-1] = instant[-1] + 0.5 * (y - potential[-1])
            dv = [(-a + b) / tau for a, b, tau in zip(v, instant, tau_r, strict=True)]
            e = [a + tau * d for a, d, tau in zip(v, dv, tau_m, strict=True)]
        np.testing.assert_allclose(output, potential[-1], rtol=1e-8, atol=1e-10)
        for n, p in enumerate(ends):
            pre = x if p[0] is None else r[p[0]]
            weight[n] = weight[n] + rate * e[p[1]].T @ pre / 2
            bias[n] = bias[n] + rate * e[p[1]].mean(axis=0)
        steps = [(e[n] * du[n], -instant[n] * du[n]) for n in range(3)]
        u = [a + dt * d for a, d in zip(u, du, strict=True)]
        v = [a + dt * d for a, d in zip(v, dv, strict=True)]
        tau_m = [tau - rate * s[0].mean(axis=0) for tau, s in zip(tau_m, steps, strict=True)]
        tau_r = [tau - rate * s[1].mean(axis=0) for tau, s in zip(tau_r, steps, strict=True)]
    for p, w in zip(learner.network.projections, weight, strict=True):
        np.testing.assert_allclose(p.connection.weight, w, rtol=1e-8, atol=1e-10)
    for p, tau in zip(learner.network.populations, tau_r, strict=True):
        np.testing.assert_allclose(p.tau_r, tau, rtol=1e-8)


def test_signals_of_learning_stand_at_each_weight(rng):
    system = graph(rng, LOOPS)
    x, y = jnp.asarray(rng.normal(size=(4, 3)), "float32"), jnp.asarray(rng.normal(size=(4, 2)), "float32")
    signals = system.signals(system.init((4,)), x, y)
    at_weights = system.synapses(signals)
    for number, p in enumerate(system.projections):
        pre, post = (at_weights[name].projections[number].connection.weight for name in ("pre", "post"))
        np.testing.assert_array_equal(pre, x if p.source is None else signals.rate[p.source])
        np.testing.assert_array_equal(post, signals.rate[p.target])
        assert at_weights["error"].projections[number].connection.bias is None


def test_many_at_once(x64, rng):
    """vmap over nudging strengths and weights gives what each gives alone."""
    system, x, y = graph(rng, LOOPS), jnp.asarray(rng.normal(size=(2, 3))), jnp.asarray(rng.normal(size=(2, 2)))

    def gradient(beta, gain):
        changed = eqx.tree_at(lambda s: s.beta, system, beta)
        changed = eqx.tree_at(lambda s: s.projections[5].connection.weight, changed, replace_fn=lambda w: gain * w)
        return changed.plasticity(changed.signals(changed.init((2,)), x, y)).projections[0].connection.weight

    betas, gains = jnp.asarray([0.1, 1.0]), jnp.asarray([1.0, 0.5])
    together = jax.jit(jax.vmap(gradient))(betas, gains)
    for number in range(2):
        np.testing.assert_allclose(together[number], gradient(betas[number], gains[number]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("projections", "message"),
    [
        ([(0, 1), (1, 2)], "source None must come from one and the same input, but none does"),
        ([(None, 0), (0, 2)], "no projection ends in population 1"),
        ([*CHAIN, (3, 1)], "3 -> 1 names one of 3 populations that is none"),
    ],
)
def test_what_cannot_be_a_graph(rng, projections, message):
    sizes = (4, 5, 2, 7)
    dense = lambda source, target: gle.Dense(np.zeros((sizes[target], 3 if source is None else sizes[source])), None)  # noqa: E731
    populations = [gle.Population(size, 1.0, 1.0, jnp.tanh) for size in sizes[:3]]
    with pytest.raises(ValueError, match=message):
        gle.Graph(populations, [gle.Projection(a, b, dense(a, b)) for a, b in projections], gle.MeanSquaredError())


def test_errors_of_sizes_time_constants_and_loops_that_explode(rng):
    neurons, cost = gle.Population(2, 1.0, 1.0, gle.linear), gle.MeanSquaredError()
    onto = gle.Projection(None, 0, gle.Dense(np.ones((2, 3)), None))
    with pytest.raises(ValueError, match="0 -> 0 has 3 sources, but the population has 2"):
        gle.Graph([neurons], [onto, gle.Projection(0, 0, gle.Dense(np.ones((2, 3)), None))], cost)
    with pytest.raises(ValueError, match="leads to 3 neurons, but the population has 2"):
        gle.Graph([neurons], [gle.Projection(None, 0, gle.Dense(np.ones((3, 3)), None))], cost)
    with pytest.raises(ValueError, match="tau_r of population 0 must be positive, but is 0"):
        gle.Graph([gle.Population(2, 1.0, [0.0, 1.0], gle.linear)], [onto], cost)
    with pytest.raises(ValueError, match="size must be at least 1"):
        gle.Population(0, 1.0, 1.0, gle.linear)
    # r = W r + x with W of eigenvalue 1 has no solution for most x.
    loop = gle.Projection(0, 0, gle.Dense(np.eye(2), None))
    with pytest.raises(RuntimeError, match="no common solution"):
        gle.Graph([neurons], [onto, loop], cost).equilibrium(jnp.ones((1, 3)))
