"""The example of the README, and those with which the pages on gle, sal, sweeps and training begin, run as printed."""

import re
import textwrap
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._sweep.target import find_target
from benchmarks.cli import main

ROOT = Path(__file__).parents[1]
TRAINING = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)


def test_network_and_gradient():
    names: dict = {}
    exec(compile(examples("README.md")[0], "README.md", "exec"), names)
    network, features, gradient = names["network"], names["features"], names["gradient"]
    assert [connection.weight.shape for connection, _ in gradient.layers] == [(50, 5), (3, 50)]

    # Forward mode: central differences along all features.
    later, sooner = (names["first_spikes"](network, features[0] + step) for step in (1e-3, -1e-3))
    np.testing.assert_allclose((later - sooner) / 2e-3, names["slopes"], rtol=1e-2)

    # Reverse mode: a step along the gradient changes the loss by what its length predicts.
    squared = sum(jnp.sum(connection.weight**2) for connection, _ in gradient.layers)

    def shifted(change):
        updates = jax.tree.map(lambda g: change / squared * g, eqx.filter(gradient, eqx.is_array))
        return names["loss"](eqx.apply_updates(network, updates), features, names["labels"])[0]

    np.testing.assert_allclose(shifted(5e-4) - shifted(-5e-4), 1e-3, rtol=0.02)


def test_a_neuron_learns_online():
    names: dict = {}
    exec(compile(examples("docs/gle.md")[0], "docs/gle.md", "exec"), names)
    layer = names["layer"]
    np.testing.assert_allclose([layer.connection.weight.item(), layer.tau_m.item()], [1.0, 1.5], rtol=0.03)


def test_a_backward_weight_aligns():
    names: dict = {}
    exec(compile(examples("docs/sal.md")[0], "docs/sal.md", "exec"), names)
    assert names["course"][0] == -0.5
    np.testing.assert_allclose(names["weights"], [[0.0, 1.5], [1.5, 0.0]], atol=0.07)


def test_a_chip_learns_in_the_loop():
    names: dict = {}
    first, second = examples("README.md")
    imports = "".join(line for line in first.splitlines(keepends=True) if line.startswith("import "))
    exec(compile(imports + second, "README.md", "exec"), names)
    assert names["losses"][0] > 1
    assert names["losses"][-1] < 0.1


def test_own_experiment_learns(tmp_path, key):
    path = tmp_path / "my_file.py"
    path.write_text(examples("docs/sweeps.md")[0], encoding="utf-8")
    target = find_target(f"{path}:experiment")
    metrics, weights, _ = jax.jit(lambda key: target.function(target.config(), key))(key)
    assert metrics["train_loss"] < 0.1  # ms^2, from about 10
    assert weights.shape == (1, 20)


def test_own_training_is_run_and_swept(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_training.py").write_text(examples("docs/sweeps.md")[1], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run = ["my_training.py:Mean", "--seeds", "2", "--learning-rate", "0.3"]
    assert main(run) == main([*run, "--resume"]) == 0
    sweep = ["sweep", "my_training.py:Mean", "--over", "learning_rate=0.03,0.3", "--over", "data=0,1", "--seeds", "2"]
    assert main([*sweep, "--metric", "validation_loss"]) == 0
    assert "Best (lowest mean validation_loss): learning_rate = 0.3, data = " in capsys.readouterr().out


def test_own_training_is_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    (example,) = re.findall(r"```python\n(.*?)```", TRAINING, re.DOTALL)
    exec(compile(example, "training.md", "exec"), names)
    outcome = names["outcome"]
    assert outcome.metrics["test_accuracy"].min() > 0.8

    (again,) = re.findall(r"\n((?:    [^\n]+\n)+)", TRAINING.split("Ctrl-C")[1])
    exec(compile(textwrap.dedent(again), "training.md", "exec"), names)
    assert names["outcome"] is not outcome
    assert eqx.tree_equal(names["outcome"].network, outcome.network)
