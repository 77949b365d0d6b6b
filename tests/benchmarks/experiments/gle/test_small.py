import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.experiments.gle.small.figures import draw_errors, draw_histories
from benchmarks.experiments.gle.small.model import (
    FREQUENCIES,
    MIDDLE,
    TOP,
    Course,
    History,
    Record,
    Small,
    course,
    gle_small,
    spectra,
)


def test_both_rules_find_the_teacher(key):
    config = Small(duration=600.0)
    metrics, _, _, _ = eqx.filter_jit(gle_small)(config, key)
    assert metrics["weight_error"] < 0.02
    assert metrics["adjoint_weight_error"] < 0.1
    assert metrics["train_loss"] < 1e-6


def test_bottom_errors_of_small_signals_are_those_of_the_operators():
    """Errors pass D+ I- and adjoints I+ D- of each neuron on their way down (Eqs. 19, 25), where tanh is linear."""
    config = Small(spectrum_steps=20_000, gamma=0.0)
    found = spectra(eqx.filter_jit(course)(config, jnp.array([1e-3, 2e-3])), config.dt)
    omega = np.asarray(found.omega)
    slow = np.array(FREQUENCIES)
    expected = {
        "error": (1 + 1j * slow) / (1 + 0.1j * slow),
        "adjoint": (1 - 0.1j * slow) / (1 - 1j * slow),
    }
    lines = [np.argmin(np.abs(omega - x)) for x in FREQUENCIES]
    for name, lag in expected.items():
        above = np.stack([np.ones_like(lag), lag]) * np.array(TOP)[:, None]  # through both middle neurons
        below = np.array(MIDDLE).T @ above * np.stack([np.ones_like(lag), lag])
        measured = np.asarray(getattr(found, name) / found.top[:, None])[lines]
        np.testing.assert_allclose(measured, below.T, rtol=0.02)


def test_the_figures_show_what_they_are_given(rng):
    config = Small(duration=6.0, spectrum_steps=4000)
    history = History(jnp.ones((2, 2)), jnp.ones(2))
    histories = {"gle": history, "adjoint": history}
    assert len(draw_histories(histories, config).axes) == 2
    one = Course(*(jnp.asarray(rng.normal(size=(4000, *width))) for width in 4 * [()] + 2 * [(2,)]))
    both = [jax.tree.map(lambda x: jnp.stack([x, 2 * x]), x) for x in (one, spectra(one, config.dt))]
    axes = draw_errors(Record(histories, *both), config).axes
    assert len(axes) == 14
    late = axes[7 + 2].lines[0].get_ydata()  # the retrospective neuron
    np.testing.assert_array_equal(late, 2 * one.error[:3000, 1])
