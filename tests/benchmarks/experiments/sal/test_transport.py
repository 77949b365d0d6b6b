"""BP, FA, SCFA, Kolen-Pollack, PAL, SAL and RDD: one network, one seam, one axis."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sal
from benchmarks.experiments.sal.transport.figures import draw_transports
from benchmarks.experiments.sal.transport.model import METHODS, Transport, TransportTraining
from benchmarks.experiments.sal.transport.twin import PhaselessTwin


@pytest.mark.slow
def test_all_transports_on_one_axis(key):
    """After 15 epochs: who copies, who keeps, who follows; from the same W and B."""
    training = TransportTraining(Transport(epochs=15))
    start = training.init(key)
    first = {name: [layer.backward for layer in model.layers] for name, model in start.models.items()}
    for name in ("pal", "sal", "rdd", "kp"):
        jax.tree.map(np.testing.assert_array_equal, first[name], first["fa"])
    state, history, epoch = start, [], eqx.filter_jit(training.epoch)
    for number in range(15):
        state, metrics = epoch(state, jnp.int32(number))
        history.append(metrics)
    history = {name: np.array([metrics[name] for metrics in history]) for name in history[0]}
    last = {name: float(history[f"angle_{name}"][-1]) for name in METHODS}
    assert last["bp"] == 0
    for layer, before in zip(state.models["fa"].layers, first["fa"], strict=True):
        np.testing.assert_array_equal(layer.transport.weight, before)
    # Where signs agree, sizes that are uniform are 41 degrees apart, arccos((1/4) / (1/3)), before anything learns.
    assert 25 < last["scfa"] < 45
    assert last["rdd"] < 12 and last["pal"] < 25 and last["sal"] < 45 < last["fa"]
    assert last["kp"] < last["fa"] - 10
    assert all(history[f"loss_{name}"][-1] < 0.4 * history[f"loss_{name}"][0] for name in METHODS)
    assert len(draw_transports({name: x[None] for name, x in history.items()}).axes) == 2


@pytest.mark.slow
def test_a_rate_circuit_stands_where_a_spiking_twin_does(key):
    """`symmetrize` takes PAL as it takes SAL: B turns to W."""
    keys = jax.random.split(key, 3)
    model = [eqx.nn.Linear(8, 6, key=keys[0]), eqx.nn.Linear(6, 4, key=keys[1])]
    model = sal.with_feedback(model, sal.Fixed, key=keys[2])
    learned = sal.symmetrize(model, PhaselessTwin(60), key=key)
    for before, after in zip(model, learned, strict=True):
        np.testing.assert_array_equal(before.weight, after.weight)
        assert before.angle > 60 and after.angle < 0.6 * before.angle
