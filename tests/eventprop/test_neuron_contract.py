"""What every neuron does whichever solver runs it: forms, derivatives, receptors, refractory periods, bad input."""

import io
import re

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import eventprop as ep
from eventprop.parameters import as_arrays
from tests.eventprop.golden_neurons import SYNAPSES
from tests.eventprop.neuron_table import NEURONS, ONE, THRESHOLD, TWO, Case

KEY = jax.random.key(0)
STEP = 1e-6


@pytest.fixture(params=NEURONS)
def case(request) -> Case:
    return NEURONS[request.param]


def state(neuron: ep.AbstractNeuron, neurons: int, dtype, held: bool = False):
    """One in the middle of its motion, near rest and different for all neurons."""
    y = neuron.init(neurons, dtype)
    y = neuron.begin(y, KEY) if isinstance(neuron, ep.Stochastic) else y
    shift = 0.1 + 0.03 * jnp.arange(neurons, dtype=dtype)
    y = eqx.tree_at(lambda y: y.v, y, replace_fn=lambda v: v + shift)
    for port in range(8):
        try:
            y = neuron.receive(y, port, shift * (port + 1))
        except ValueError:
            break
    if held and neuron.events:
        y = neuron.events[0].jump(0.0, y, KEY)
    return y


def described(neuron: ep.AbstractNeuron, y) -> dict:
    """All that a neuron says about a state."""
    key = KEY if isinstance(neuron, ep.Stochastic) else None
    return {
        "field": neuron.vector_field(0.0, y, key),
        "guards": [event.guard(0.0, y, key) for event in neuron.events],
        "jumps": [event.jump(0.0, y, key) for event in neuron.events],
        "units": [jnp.asarray(event.unit(), y.v.dtype) for event in neuron.events],
        "received": neuron.receive(y, 0, jnp.ones_like(y.v)),
        "v": neuron.voltage(y),
    }


def test_states_keep_their_form(precision, case):
    """Shapes and precision through field, jumps and receptors; at rest nobody is about to do anything."""
    neuron, rest = as_arrays("neuron", case.neuron, precision), case.neuron.init(3, precision)
    assert all(leaf.shape == (3,) and leaf.dtype == precision for leaf in jax.tree.leaves(rest))
    assert neuron.valid(rest) and jax.tree.structure(rest) == jax.tree.structure(case.neuron.init(3))
    assert all(jnp.all(event.guard(0.0, rest, None) < 0) for event in neuron.events)
    for held in (False, True):
        y = state(neuron, 3, precision, held)
        assert neuron.valid(y)
        found = described(neuron, y)
        chex.assert_tree_all_finite((found["field"], found["v"]))
        for other in (found["field"], found["received"], *found["jumps"]):
            chex.assert_trees_all_equal_shapes_and_dtypes(other, y)
        for guard in found["guards"]:
            assert guard.shape == (3,) and guard.dtype == precision and jnp.all(guard < 0)


def test_jit_vmap_and_numbers_per_neuron(precision, case):
    """Jitted as eager; a batch of neurons with other numbers is a loop; one number per neuron is one for each."""
    neuron, tolerance = as_arrays("neuron", case.neuron, precision), 1e-6 if precision == np.float32 else 1e-13
    y = state(neuron, 3, precision, held=True)
    eager = described(neuron, y)
    chex.assert_trees_all_close(jax.jit(described)(neuron, y), eager, rtol=tolerance, atol=tolerance)
    vectors = jax.tree.map(lambda x: jnp.full(3, x), neuron)
    each = described(vectors, y)
    each["units"] = jax.tree.map(lambda x: jnp.ravel(x)[0], each["units"])
    chex.assert_trees_all_close(each, eager, rtol=tolerance, atol=tolerance)
    many = jax.tree.map(lambda x: jnp.stack([x, 1.01 * x]), neuron)
    batch = jax.jit(jax.vmap(described, (0, None)))(many, y)
    other = described(jax.tree.map(lambda x: 1.01 * x, neuron), y)
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[1], batch), other, rtol=10 * tolerance, atol=10 * tolerance)


def test_derivatives_of_the_field(x64, case):
    """With respect to the state and to every parameter, as central differences have it; also of guards and jumps."""
    neuron = as_arrays("neuron", case.neuron, np.float64)

    def of_all(neuron, y):
        if isinstance(y, ep.EscapeState):  # numbers of draws are whole
            y = eqx.tree_at(lambda y: y.draws, y, replace_fn=lambda draws: jax.lax.stop_gradient(jnp.round(draws)))
        found = described(neuron, y)
        moving = found["field"], found["guards"], found["jumps"]
        leaves = [x for x in jax.tree.leaves(moving) if x.dtype == jnp.float64]
        return sum(jnp.sum(jnp.cos(k + jnp.arange(3)) * x) for k, x in enumerate(leaves))

    for held in (False, True):
        arguments = neuron, state(neuron, 3, np.float64, held)
        gradients = jax.jit(jax.grad(of_all, (0, 1)))(*arguments)
        chex.assert_tree_all_finite(gradients)
        flat, back = jax.flatten_util.ravel_pytree(arguments)
        steps = STEP * jnp.diag(jnp.maximum(1.0, jnp.abs(flat)))
        value = jax.jit(jax.vmap(lambda x: of_all(*back(x))))
        differences = (value(flat[None] + steps) - value(flat[None] - steps)) / (2 * jnp.diagonal(steps))
        np.testing.assert_allclose(jax.flatten_util.ravel_pytree(gradients)[0], differences, rtol=1e-5, atol=1e-6)


def test_refractory_neurons_stand_still_and_are_released(precision, case):
    """V (of escape rates: H) is held while receptors and adaptation go on; the end is an event that emits nothing."""
    period = getattr(case.neuron, "refractory", None)
    y = state(case.neuron, 3, precision, held=True)
    if period is None:
        assert len(case.neuron.events) <= 1 and jnp.all(getattr(y, "held", jnp.zeros(3)) == 0)
        return
    field = case.neuron.vector_field(0.0, y, None)
    still, moving = (field.hazard, field.v) if isinstance(y, ep.EscapeState) else (field.v, None)
    assert jnp.all(y.held == 1) and jnp.all(still == 0) and (moving is None or jnp.all(moving != 0))
    assert all(jnp.all(x < 0) for x in ([field.i] if isinstance(y, ep.LIFState) else field.synapses))
    if isinstance(period, ep.FiresOnce):
        assert len(case.neuron.events) == 1 and jnp.all(field.refractory == 0)
        return
    assert jnp.all(y.refractory == period) and jnp.all(field.refractory == -1)
    spike, release = case.neuron.events
    assert spike.emits and not release.emits
    ringing = eqx.tree_at(lambda y: y.refractory, y, jnp.zeros_like(y.refractory))
    assert jnp.all(release.guard(0.0, ringing, None) == 0)
    free = release.jump(0.0, ringing, None)
    assert jnp.all(free.held == 0) and jnp.all(release.guard(0.0, free, None) == -1)
    chex.assert_trees_all_equal((free.v, case.neuron.valid(free)), (y.v, jnp.asarray(True)))


def test_receptors_gather_and_decay_on_their_own(x64):
    """Each port has its own time constant; currents add up, conductances pull to their reversal potentials."""
    currents, conductances = TWO, ep.ConductanceSynapses((5.0, 9.0), (4.0, -0.5))
    for synapses in (currents, conductances):
        y = synapses.receive(synapses.receive(synapses.init(1, float), 0, jnp.ones(1)), 1, jnp.full(1, 2.0))
        np.testing.assert_allclose(jnp.stack(synapses.decay(y))[:, 0], [-1 / 5, -2 / synapses.tau_syn[1]])
    np.testing.assert_allclose(currents.current(y, jnp.ones(1)), 3.0)
    np.testing.assert_allclose(conductances.current(y, jnp.ones(1)), 1 * (4 - 1) + 2 * (-0.5 - 1))


def test_everything_can_be_saved(case):
    file = io.BytesIO()
    things = case.neuron, case.neuron.init(2)
    eqx.tree_serialise_leaves(file, things)
    file.seek(0)
    loaded = eqx.tree_deserialise_leaves(file, jax.tree.map(lambda x: x + 1, things))
    chex.assert_trees_all_equal(loaded, things)


def test_networks_of_all_neurons(case):
    """Ports are those of the neuron; every parameter is a leaf that a masked optimiser can reach."""
    ports = [(None, 0, ep.Dense(jnp.ones((2, 3)), port=port)) for port in range(len(case.charges))]
    network = as_arrays("network", ep.Network([case.neuron], ports), jnp.float32)
    own = eqx.tree_at(lambda n: n.neurons, jax.tree.map(lambda _: False, network), replace_fn=lambda n: _all_true(n))
    optimiser = optax.chain(optax.masked(optax.scale(-1.0), own), optax.masked(optax.set_to_zero(), _inverse(own)))
    updates, _ = optimiser.update(jax.tree.map(jnp.ones_like, network), optimiser.init(network))
    after = optax.apply_updates(network, updates)
    chex.assert_trees_all_equal(after.projections, network.projections)
    assert all(jnp.all(x == -1) for x in jax.tree.leaves(updates.neurons)) and len(jax.tree.leaves(case.neuron)) >= 3
    for port in (len(case.charges), -1):
        with pytest.raises(ValueError, match=rf"projection None -> 0 .* port {port} is none of .* 0 to"):
            ep.Network([case.neuron], [(None, 0, ep.Dense(jnp.ones((2, 3)), port=port))])


def _all_true(tree):
    return jax.tree.map(lambda _: True, tree)


def _inverse(mask):
    return jax.tree.map(lambda x: not x, mask)


RANGES = {
    "tau_mem": 0.0, "tau_syn": 0.0, "tau_syn[1]": np.nan, "threshold": -1.0, "refractory": 0.0, "adaptation.tau": 0.0,
    "adaptation.beta": -0.1, "reset.value": 50.0, "reset": 50.0, "peak": -100.0, "sharpness": 0.0, "onset": 50.0,
    "rest": 50.0, "a": 0.0, "c": 50.0, "C": 0.0, "g": 0.0, "D": 0.0, "tau_w": 0.0, "V_T": 50.0, "V_r": 50.0,
    "E": 50.0, "escape.tau": 0.0, "escape.width": 0.0,
}  # fmt: skip
"""Values that no neuron can have."""


def test_parameters_out_of_range_are_found_under_jit(case):
    """What a constructor cannot see, `valid` tells; each parameter that has a range."""
    neuron = as_arrays("neuron", case.neuron, np.float32)
    rest, places = neuron.init(2), jax.tree_util.tree_leaves_with_path(neuron)
    checked = 0
    for number, (path, _) in enumerate(places):
        name = re.sub(r"^\.|^\.synapses\.|\[0\]$", "", jax.tree_util.keystr(path))
        name = name.removeprefix("synapses.")
        if name not in RANGES or (name == "a" and isinstance(neuron, ep.AdEx)):
            continue
        wrong = eqx.tree_at(lambda n, k=number: jax.tree.leaves(n)[k], neuron, jnp.asarray(RANGES[name], jnp.float32))
        assert not jax.jit(lambda n: n.valid(rest))(wrong), name
        checked += 1
    assert checked >= 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_states_that_are_not_finite_are_found(case, value):
    y = case.neuron.init(2)
    own = [leaf for leaf in ("v", "i", "adaptation", "hazard") if getattr(y, leaf, None) is not None]
    for leaf in own:
        wrong = eqx.tree_at(lambda y, leaf=leaf: getattr(y, leaf), y, jnp.array([0.0, value]))
        assert not case.neuron.valid(wrong), leaf
    if hasattr(y, "synapses"):
        assert not case.neuron.valid(eqx.tree_at(lambda y: y.synapses[0], y, jnp.array([0.0, value])))
    if hasattr(y, "held"):
        endless = [] if isinstance(y, ep.LIFState) or case.neuron.refractory is not None else [(1.0, 1.0)]
        for phase, left in ((0.5, 1.0), (0.0, 1.0), (1.0, -1.0), *endless):
            wrong = eqx.tree_at(lambda y: (y.held, y.refractory), y, (jnp.full(2, phase), jnp.full(2, left)))
            assert not case.neuron.valid(wrong)


BAD = {
    "tau_mem must be positive, but is 0.0": lambda: ep.ALIF(0.0, ONE, THRESHOLD),
    r"tau_syn\[1\] must be positive, but is -1.0": lambda: ep.CurrentSynapses((5.0, -1.0)),
    "tau_syn must hold at least one": lambda: ep.CurrentSynapses(()),
    r"tau_syn\[0\] is float16": lambda: ep.CurrentSynapses(jnp.ones(2, "float16")),
    "tau_syn is given for 2 receptors and reversal for 1": lambda: ep.ConductanceSynapses((5.0, 9.0), 1.0),
    "synapses must be an AbstractSynapses, but is 5.0": lambda: ep.QIF(10.0, 5.0),
    "adaptation must be an AbstractAdaptation": lambda: ep.ALIF(20.0, ONE, 0.4),
    "reset must be an AbstractReset": lambda: ep.ALIF(20.0, ONE, THRESHOLD, reset=0.0),
    "escape must be an AbstractEscape": lambda: ep.EscapeRate(20.0, ONE, jnp.exp),
    r"adaptation.tau must be positive, but is -1.0": lambda: ep.ALIF(20.0, ONE, ep.AdaptiveThreshold(0.1, -1.0)),
    "adaptation.beta must not be negative, got -0.1": lambda: ep.ALIF(20.0, ONE, ep.AdaptiveThreshold(-0.1, 9.0)),
    "threshold must be positive, but is -1.0: a reset by subtraction": lambda: ep.ALIF(20.0, ONE, THRESHOLD, -1.0),
    "threshold - reset value must be positive, but is -0.5: reset below": lambda: ep.ALIF(
        20.0, ONE, THRESHOLD, reset=ep.ResetToValue(1.5)
    ),
    "refractory must be positive, but is 0.0: use None": lambda: ep.QIF(10.0, ONE, refractory=0.0),
    r"refractory must be a number, None or FiresOnce\(\)": lambda: ep.QIF(10.0, ONE, refractory=ep.FiresOnce),
    "peak - reset must be positive, but is -1.0: reset below the peak": lambda: ep.QIF(10.0, ONE, 1.0, 2.0),
    "peak - rest must be positive, but is 0.0: a neuron at rest would fire": lambda: ep.QIF(10.0, ONE, 0.0),
    "sharpness must be positive, but is 0.0: .* LIF": lambda: ep.EIF(20.0, ONE, 0.0, 2.0),
    "peak - onset must be positive": lambda: ep.EIF(20.0, ONE, 0.1, 0.5),
    "a must be positive, but is 0.0: 1 / a": lambda: ep.Izhikevich(SYNAPSES, 0.0, 0.2, -65.0, 8.0),
    "peak - c must be positive, but is 0.0": lambda: ep.Izhikevich(SYNAPSES, 0.02, 0.2, 30.0, 8.0),
    r"peak \+ 65 must be positive": lambda: ep.Izhikevich(SYNAPSES, 0.02, 0.2, -75.0, 8.0, peak=-70.0),
    r"width must be positive": lambda: ep.ExponentialEscape(10.0, width=0.0),
    r"differ in length: .*synapses.tau_syn\[0\]": lambda: ep.QIF(jnp.ones(3), ep.CurrentSynapses(jnp.ones(2))),
    r"differ in length: .*escape.tau": lambda: ep.EscapeRate(jnp.ones(3), ONE, ep.SigmoidEscape(jnp.ones(2))),
    r"reset has shape \(2, 2\)": lambda: ep.EIF(20.0, ONE, 0.1, 2.0, reset=jnp.ones((2, 2))),
    "args must be the key": lambda: (
        NEURONS["EscapeRate"].neuron.events[0].jump(0.0, NEURONS["EscapeRate"].neuron.init(2), None)
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_told(message):
    """Argument, value and remedy; where the type checker of the test suite is quicker, it is a checker's error."""
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)) as error:
        BAD[message]()
    if error.type is ValueError:
        error.match(message)
