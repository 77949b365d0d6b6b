import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gle
from benchmarks.experiments.gle.chain.figures import draw_histories, draw_noise, draw_traces
from benchmarks.experiments.gle.chain.model import (
    TEACHER,
    Chain,
    Lesson,
    learn,
    learn_by_bptt,
    lessons,
    rules,
    square_wave,
    stages,
    traces,
    without_gamma,
)
from tests.benchmarks.made_up import made_up

SHORT = Chain(duration=400.0, batch_size=10, learning_rate=1e-3)


@pytest.mark.slow
def test_the_chain_finds_its_teacher_and_instantaneous_errors_do_not():
    """A tenth of the paper's time at ten times its rate."""
    run = eqx.filter_jit(learn)
    _, history, result = run(SHORT, jax.random.key(0), gle.Step())
    assert result == gle.RESULTS.successful
    np.testing.assert_allclose(history.weights[-1], TEACHER["weights"], rtol=0.02)
    np.testing.assert_allclose(history.tau_m[-1], TEACHER["tau_m"], rtol=0.02)
    assert history.loss[-1] < 1e-7 < 1e-3 < history.loss[0]
    _, instant, _ = run(SHORT, jax.random.key(0), gle.Instantaneous())
    assert instant.loss[-1] > 1e-3


@pytest.mark.slow
def test_bptt_learns_with_a_window_of_half_a_period_and_stalls_with_less():
    config, key = Chain(duration=800.0, batch_size=10), jax.random.key(0)
    long, short = (eqx.filter_jit(learn_by_bptt)(config, key, window)[1] for window in (2.0, 1.0))
    assert long.loss[-1] < 1e-3 < short.loss[-1] < 0.1 < long.loss[:10].max()


@pytest.mark.slow
def test_what_is_learned_with_noise_on_all_rates_follows_the_teacher_without():
    """Noise of 10 %, for which Fig. 15 shows that the output still matches the target."""
    key, config = jax.random.key(0), without_gamma(dataclasses.replace(SHORT, duration=800.0))
    network, history, result = eqx.filter_jit(learn)(config, key, rules(config, key)["noisy"])
    assert result == gle.RESULTS.successful
    found = traces(config, key, network, gle.Step())
    ours, target = found.rates[:, 1], found.taught[:, 1]
    assert jnp.sqrt(jnp.mean((ours - target) ** 2)) < 0.05 * jnp.std(target)
    np.testing.assert_allclose(history.weights[-1], TEACHER["weights"], rtol=0.1)
    np.testing.assert_allclose(history.tau_m[-1], TEACHER["tau_m"], rtol=0.1)


@pytest.mark.slow
def test_with_gamma_noise_drives_a_time_constant_to_its_bound():
    key = jax.random.key(0)
    _, history, _ = eqx.filter_jit(learn)(SHORT, key, rules(SHORT, key)["noisy"])
    np.testing.assert_allclose(history.tau_m[-1, 0], 10 * SHORT.dt, rtol=0.1)


def test_the_figures_show_what_they_are_given(rng, key):
    config = Chain(duration=16.0, batch_size=2)
    found = made_up(eqx.filter_eval_shape(lessons, config, key), rng)
    histories = {name: history for name, (_, history, _) in found.items()}
    assert {name: len(history.loss) for name, history in histories.items()} == {
        "gle": 400,
        "instantaneous": 400,
        "noisy": 400,
        "bptt_1": 16,
        "bptt_2": 8,
        "bptt_4": 4,
    }
    figure = draw_histories(histories, config)
    assert [len(ax.lines) for ax in figure.axes] == [12, 12, 5]
    network, noise = found["noisy"][0], rules(config, key)["noisy"]
    shown = made_up(eqx.filter_eval_shape(traces, config, key, network, noise), rng)
    assert len(draw_noise(histories["noisy"], shown, config).axes[2].lines[0].get_xdata()) == 800
    three = jax.tree.map(lambda x: jnp.stack([x, 2 * x, 3 * x]), shown)
    rows = np.reshape(draw_traces({"gle": three, "instantaneous": three}, config).axes, (4, 3))
    for row, values in enumerate((three.rates[2, :, 1], three.rates[2, :, 0], three.errors[2, :, 1])):
        np.testing.assert_array_equal(rows[row, 2].lines[0].get_ydata(), values)  # GLE's first, after learning


@pytest.mark.slow
def test_gle_s_errors_have_the_shape_of_presynaptic_rates_and_instantaneous_ones_that_of_the_output_error():
    """Fig. 14b: with the teacher's time constants and weights too small, errors look ahead as far as rates lag."""
    config, key = Chain(), jax.random.key(0)
    lesson = Lesson(dataclasses.replace(config, batch_size=1), key)
    network, _, _ = stages(config, key, lesson.student)
    found = {name: traces(config, key, network, rules(config, key)[name]) for name in ("gle", "instantaneous")}
    input = lesson.inputs(jnp.arange(1600, 2400))[:, 0]
    likeness = {
        name: [np.corrcoef(x[:, 0], y)[0, 1] for x, y in ((input, one.errors[:, 0]), (one.rates, one.errors[:, 1]))]
        for name, one in found.items()
    }
    assert likeness["gle"][0] > 0.9 and likeness["gle"][1] > 0.99
    assert max(likeness["instantaneous"]) < 0.5
    instant = found["instantaneous"]
    slope = 1 - np.exp(-instant.rates[:, 0])  # of softplus, from its value
    expected = slope * network.layers[1].connection.weight[0, 0] * instant.errors[:, 1]
    np.testing.assert_allclose(instant.errors[:, 0], expected, rtol=1e-5)


def test_the_input_is_a_smoothed_square_wave():
    t = jnp.array([0.0, 0.05, 1.0, 2.0, 3.0, 4.0, 101.0])
    expected = [0.0, 0.682689, 1.0, 0.0, -1.0, 0.0, 1.0]  # erf(1 / sqrt 2) one standard deviation after an edge
    np.testing.assert_allclose(square_wave(t, Chain()), expected, atol=1e-5)


@pytest.mark.parametrize("duration", [0.0, 2.0, 3.9])
def test_a_duration_without_a_window_is_refused(duration):
    with pytest.raises(ValueError, match=f"duration must be at least 4, but is {duration:g}"):
        learn(Chain(duration=duration), jax.random.key(0), gle.Instantaneous())
