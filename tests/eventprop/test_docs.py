"""The examples of the pages run as printed, and lead to the numbers in their texts."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import eventprop as ep

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "eventprop.md").read_text(encoding="utf-8")
ABOVE, GRID = TEXT.split("## Fixed steps: ")


def run(text: str, name: str, **names) -> dict:
    """The names that the examples of a page, or of a part of it, define; `names` come from parts above."""
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, name, "exec"), names)
    return names


def test_examples_lead_to_the_numbers_in_the_text(x64):
    names = run(ABOVE, "docs/eventprop.md")
    t_a, t_b = float(names["t_a"]), float(names["t_b"])
    np.testing.assert_allclose([t_a, t_b], [5.33779, 10.95440], atol=5e-6)
    np.testing.assert_allclose([x.item() for x in names["slopes"]], [-0.614444, -0.995315, 1.0], atol=5e-7)

    # By hand, as the text has it.
    s_a, s_b = t_a - 2, t_b - t_a - 1.5
    rise = [(w * np.exp(-s / 5) - 1) / 20 for w, s in ((9, s_a), (8, s_b))]
    np.testing.assert_allclose([s_a, s_b, *rise], [3.33779, 4.11661, 0.180832, 0.125588], atol=5e-6)
    jump = 1 / (20 * rise[1])
    potential, current = jump * np.exp(-s_b / 20), jump * 20 / 15 * (np.exp(-s_b / 20) - np.exp(-s_b / 5))
    np.testing.assert_allclose([jump, potential, current], [0.398126, 0.324063, 0.199063], atol=5e-7)
    np.testing.assert_allclose([8 * (potential - current), 1 / (20 * rise[0])], [1.0, 0.276500], atol=5e-7)
    np.testing.assert_allclose(-5 * current, -0.995315, atol=5e-7)
    for number in ("3.33779", "4.61664", "0.180832", "0.398126", "0.199063", "0.276500", "-0.614444"):
        assert number in TEXT

    # A readout's integral is its charge: each spike of source i adds tau_syn weight, less what is left at the end.
    out = names["solution"].state.neurons[1]
    counts = names["solution"].spikes[0].count()
    charge = np.array([[1.0, 0.5], [-0.5, 1.0]]) @ np.asarray(counts)
    np.testing.assert_allclose(names["integrals"], 5 * (charge - out.i) - 20 * out.v, rtol=1e-9)
    assert names["report"].wrong == () and 0 < names["loss"] < np.log(2)
    assert names["energy"].shape == (2,)
    np.testing.assert_allclose(names["times"][0], t_a, rtol=1e-12)
    assert t_a < names["times"][1] < t_b

    # The resonator, by its equations.
    def field(t, y):
        return -0.1 * y[0] - 1.5 * y[1] + 6 * np.exp(-t), 1.5 * y[0] - 0.1 * y[1]

    def reached(t, y):
        return y[0] - 1

    reached.terminal = True
    found = solve_ivp(field, (0, 20), [0.0, 0.0], events=reached, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(names["resonance"], found.t_events[0][0], rtol=1e-5)
    assert names["resonator"].valid(names["resonator"].init(1))


@pytest.mark.slow
def test_fixed_steps_come_close_to_the_closed_form(x64):
    """A surrogate gradient reaches all weights that are used; noise differs from trial to trial."""
    names = run(GRID, "docs/eventprop.md", jax=jax, jnp=jnp, ep=ep)
    exact = ep.simulate(names["stepped"], names["inputs"], 40.0, solver=ep.Exact(30)).spikes[0].first()
    np.testing.assert_allclose(names["close"], exact, atol=0.05)
    assert np.mean(names["count_gradient"].layers[0][0].weight != 0) > 0.5
    assert len(np.unique(names["counts"].sum(axis=1))) > 1


@pytest.mark.slow
def test_one_network_by_three_solvers():
    names = run((DOCS / "solvers.md").read_text(encoding="utf-8"), "docs/solvers.md")
    found, close = names["found"], names["close"]
    assert np.array_equal(found.spikes[0].count(), close.spikes[0].count()) and np.sum(found.spikes[0].count()) > 8
    first, other = found.spikes[0].first(), close.spikes[0].first()
    np.testing.assert_allclose(other, first, atol=1e-3)
    exact, recorded, surrogate = (
        jax.flatten_util.ravel_pytree(names[x])[0] for x in ("exact", "recorded", "surrogate")
    )
    np.testing.assert_allclose(recorded, exact, atol=0.02 * np.abs(exact).max())
    assert np.all(np.isfinite(surrogate)) and np.any(surrogate != 0)
