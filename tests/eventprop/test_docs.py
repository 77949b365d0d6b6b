"""The examples of docs/eventprop.md run as printed, and lead to the numbers in its text."""

import re
from pathlib import Path

import numpy as np

import eventprop as ep

TEXT = (Path(__file__).parents[2] / "docs" / "eventprop.md").read_text(encoding="utf-8")


def test_examples_lead_to_the_numbers_in_the_text(x64):
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, "docs/eventprop.md", "exec"), names)
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

    # Fixed steps come close to the closed form; a surrogate gradient reaches all weights that are used, noise differs.
    exact = ep.simulate(names["stepped"], names["inputs"], 40.0, solver=ep.Exact(30)).spikes[0].first()
    np.testing.assert_allclose(names["close"], exact, atol=0.05)
    assert np.mean(names["count_gradient"].layers[0][0].weight != 0) > 0.5
    assert len(np.unique(names["counts"].sum(axis=1))) > 1
