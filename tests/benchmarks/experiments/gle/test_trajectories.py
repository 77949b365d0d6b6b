import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import gle
from benchmarks.experiments.gle.trajectories.figures import draw_trajectories
from benchmarks.experiments.gle.trajectories.model import START, TEACHER, Path, Trajectories, mean_cost, network, run

CONFIG = Trajectories()
H = (1 + 0.5j * np.pi * np.array([1, 0.1])) / (1 + 0.5j * np.pi)  # responses at a period of 4
ERROR = (np.array(START) - TEACHER) @ H


def test_gle_s_gradients_are_the_adjoint_method_s_over_the_squared_gain():
    """-Re(conj(H) D) / 2 against -Re(D / H) / 2: the slow neuron's are 3.4 times as large, the fast one's the same."""
    slowly = dataclasses.replace(CONFIG, rate=1e-3, periods=1, dt=2.5e-3)
    learned, path, _ = eqx.filter_jit(run)(slowly, "gle")
    online = (jax.tree.leaves(learned.layers[0].connection)[0][:, 0] - path.weights[0]) / (slowly.rate * slowly.period)
    np.testing.assert_allclose(online, -np.real(ERROR / H) / 2, rtol=0.01)
    t = jnp.arange(40 * 400) * CONFIG.dt
    wave = jnp.sin(0.5 * jnp.pi * t)[:, None]
    targets, _ = gle.infer(network(jnp.array(TEACHER)), wave, dt=CONFIG.dt)
    _, gradient = gle.adjoint_method(network(jnp.array(START)), wave, targets, dt=CONFIG.dt)
    offline = -jax.tree.leaves(gradient.layers[0].connection)[0][:, 0] / (40 * CONFIG.period)
    np.testing.assert_allclose(offline, -np.real(H.conj() * ERROR) / 2, rtol=0.02)


def test_costs_fall_along_the_path_by_gle_and_after_it_by_adjoints():
    config = dataclasses.replace(CONFIG, periods=2)
    paths = {rule: eqx.filter_jit(run)(config, rule)[1] for rule in ("not", "adjoint", "gle")}
    np.testing.assert_allclose(paths["not"].cost.mean(), mean_cost(config, np.array([START]))[0], rtol=0.02)
    np.testing.assert_allclose(paths["adjoint"].cost[:400], paths["not"].cost[:400], atol=1e-6)
    assert paths["adjoint"].cost[400:].max() < 0.7 * paths["not"].cost.max()
    means = np.reshape(paths["gle"].cost, (4, 200)).mean(axis=1)
    assert np.all(np.diff(means) < 0)


def test_the_figure_shows_what_it_is_given(rng):
    def path():
        return Path(*(jnp.asarray(rng.normal(size=(2400, *width))) for width in ((), (), (), (2,))))

    paths = {rule: path() for rule in ("gle", "adjoint", "not")}
    axes = draw_trajectories(CONFIG, paths).axes
    np.testing.assert_array_equal(axes[3].lines[2].get_ydata(), paths["gle"].weights[:, 1])
    np.testing.assert_array_equal(axes[2].lines[0].get_ydata(), paths["not"].cost)
