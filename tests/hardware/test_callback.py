"""A chip that is reached through a driver: batches, jit, grad, scan, order, and training on it in the loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eventprop as ep
import hardware as hw
from hardware.routing import place
from tests.hardware.numpy_chip import LEAK, NumpyChip

T1 = 20.0
RECORD = hw.Record(max_spikes=8)
# Two patterns of four inputs, each in two trials.
BATCH = ep.Spikes.stack(
    [
        ep.Spikes.from_events([1.0 + shift, 2.0 + shift, 3.0, 4.0], index)
        for index in ([0, 1, 0, 1], [2, 3, 2, 3])
        for shift in (0.0, 0.4)
    ]
)
LABELS = jnp.asarray([0, 0, 1, 1])


def network(tau_mem=10.0):
    keys = jax.random.split(jax.random.key(3))
    first = 0.7 + 0.3 * jax.random.normal(keys[0], (6, 4))
    second = 0.3 * jax.random.normal(keys[1], (2, 6))
    reset = ep.ResetToValue(0.0)
    return ep.FeedForward(
        [(ep.Dense(first), ep.LIF(tau_mem, 10.0, reset=reset)), (ep.Dense(second), ep.LI(10.0, 10.0))]
    )


def device(driver=None):
    return hw.CallbackDevice(NumpyChip() if driver is None else driver, hw.BSS2, (7, 8))


def experiment(net):
    """Without a calibration: the chip has its own."""
    return hw.Experiment(place(net), None, 50.0, 1 / 45, LEAK)


def test_a_chip_learns_in_the_loop(key):
    """A whole training in one compiled program: the maximum of each readout's samples decides, ten steps of Adam."""
    net, chip = network(), device()
    loop = hw.in_the_loop(experiment(net), chip, hw.SuperSpike(50.0), RECORD)
    optimiser = optax.adam(0.05)
    weights, rest = eqx.partition(net, eqx.is_array)

    def loss(weights, key):
        highest = hw.maximum(loop(eqx.combine(weights, rest), BATCH, T1, key).voltage[1])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(5 * highest, LABELS))

    def step(carry, key):
        weights, state = carry
        value, gradient = jax.value_and_grad(loss)(weights, key)
        updates, state = optimiser.update(gradient, state)
        return (eqx.apply_updates(weights, updates), state), value

    train = jax.jit(lambda keys: jax.lax.scan(step, (weights, optimiser.init(weights)), keys))
    _, values = train(jax.random.split(key, 10))
    assert len(chip.driver.seen) == 10
    assert values[-1] < 0.5 * values[0]
    setup, sent, _ = chip.driver.seen[0]
    assert setup.codes is None and all(weight.dtype.kind == "i" for weight in sent)
    np.testing.assert_array_equal(sent[0], np.rint(50 * net.layers[0][0].weight).clip(-63, 63))


def test_no_derivative_reaches_the_chip(key):
    """What is differentiated beside the network, here the experiment's scales, is a constant to the run."""
    net, chip = network(), device()

    def readout(scale):
        setup = hw.Experiment(place(net), None, 50.0 * scale, scale / 45, LEAK)
        return jnp.mean(hw.in_the_loop(setup, chip, hw.FirstSpike(), RECORD)(net, BATCH, T1, key).voltage[1])

    assert jax.jit(jax.grad(readout))(1.0) == 0


def test_the_numbers_are_those_of_the_driver(key):
    net, chip = network(), device()
    found = hw.run(experiment(net), net, chip, BATCH, T1, key, hw.Record(cadc=(1,), madc=((0, 2),), max_spikes=8))
    setup, weights, seed = chip.driver.seen[0]
    trials = [trial.to_events() for trial in (jax.tree.map(lambda x, k=k: x[k], BATCH) for k in range(4))]
    wanted = NumpyChip().run(setup, weights, trials, T1, hw.Record(cadc=(1,), madc=((0, 2),)), seed)
    np.testing.assert_array_equal(found.cadc[1], wanted.cadc[1])
    np.testing.assert_array_equal(found.madc, wanted.madc.astype(np.float32))
    assert found.cadc[0] is None and found.madc.shape == (4, len(found.madc_times), 1)
    assert np.all(found.drops == 0) and np.sum(found.spikes[0].count()) > 4
    for k, (times, index) in enumerate(wanted.spikes[0]):
        events = jax.tree.map(lambda x, k=k: x[k], found.spikes[0]).to_events()
        np.testing.assert_array_equal(events, (np.float32(times), index))


def test_a_run_cannot_meet_another_configuration(key):
    """Two are made before either is run, in one compiled program."""
    chip, nets = device(), [network(tau) for tau in (9.0, 12.0)]

    @jax.jit
    def both(weights):
        handles = [
            chip.configure(net, place(net), hw.Codes.default(leak=tau)) for net, tau in zip(nets, (9, 12), strict=True)
        ]
        return [chip.run(handle, weights, BATCH, T1, RECORD, key).cadc[1] for handle in handles]

    both(tuple(jnp.round(50 * p.connection.weight) for p in nets[0].projections))
    jax.effects_barrier()
    for setup, _, _ in chip.driver.seen:
        assert setup.codes.leak[3] == setup.network.neurons[0].tau_mem
    assert sorted(setup.network.neurons[0].tau_mem for setup, _, _ in chip.driver.seen) == [9.0, 12.0]


def test_events_beyond_the_room_are_lost_and_counted(key):
    net, chip = network(), device(NumpyChip(threshold=95.0))
    every = hw.run(experiment(net), net, chip, BATCH, T1, key, RECORD)
    few = hw.run(experiment(net), net, chip, BATCH, T1, key, hw.Record(max_spikes=1), throw=False)
    np.testing.assert_array_equal(few.spikes[0].count() + few.drops, every.spikes[0].count())
    assert np.all(few.drops > 0)


def test_one_chip_cannot_be_many(key):
    net = network()
    with pytest.raises(ValueError, match="one real chip"):
        jax.vmap(lambda key: hw.run(experiment(net), net, device(), BATCH, T1, key).cadc[1])(jax.random.split(key))


def test_the_calibration_of_another_chip(key):
    net = network()
    other = hw.Calibration.from_codes(hw.Codes.default(), hw.CallbackDevice(NumpyChip(), hw.BSS2, (1, 2)))
    with pytest.raises(ValueError, match="calibration of another chip"):
        hw.run(hw.Experiment(place(net), other), net, device(), BATCH, T1, key)


class Broken(NumpyChip):
    def __init__(self, damage):
        super().__init__()
        self.damage = damage

    def run(self, *arguments):
        return self.damage(super().run(*arguments))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda answer: answer._replace(cadc=tuple(x[:, :-1] for x in answer.cadc)),
            r"cadc\[0\] must have the shape \(4, 12, 6\), but has \(4, 11, 6\)",
        ),
        (lambda answer: answer._asdict(), "answer must be an Answer, but is"),
        (lambda answer: answer._replace(spikes=()), "spikes must be a tuple with one entry per population, 2, but are"),
        (lambda answer: answer._replace(cadc_times=answer.cadc_times[::-1]), "cadc_times must ascend, but are"),
        (lambda answer: answer._replace(drops=answer.drops - 1), "drops must not be negative, got"),
    ],
)
def test_answers_of_other_shapes_and_kinds(damage, message, key):
    net = network()
    with pytest.raises(Exception, match=f"the driver's {message}"):
        jax.block_until_ready(hw.run(experiment(net), net, device(Broken(damage)), BATCH, T1, key).cadc)


def test_derivatives_through_the_chip_are_refused(key):
    net, chip = network(), device()

    def total(scale):
        placed = experiment(net)
        weights = tuple(scale * jnp.ones(p.connection.weight.shape) for p in net.projections)
        handle = chip.configure(net, placed.placement, None)
        return jnp.sum(chip.run(handle, weights, BATCH, T1, RECORD, key).cadc[1])

    with pytest.raises(ValueError, match="nothing can be differentiated through a real chip: take in_the_loop"):
        jax.jit(jax.grad(total))(1.0)


def test_what_calibration_asks(key):
    """A weight of 50 on time constants of 10 µs lifts every circuit by 45 gain / e LSB."""
    chip = device()
    stimulus = hw.Stimulus(T1, (np.array([1.0]), np.zeros(0)), weight=50.0, madc=True)
    found = chip.measure(hw.Codes.default(), stimulus, key)
    np.testing.assert_allclose(np.max(found.cadc, axis=0) - LEAK, 45 / np.e * chip.driver.gain, atol=2.5)
    np.testing.assert_allclose(np.max(found.madc, axis=0) / 2.5 - LEAK, 45 / np.e * chip.driver.gain, rtol=0.01)
    assert found.lost == 0 and np.all(found.spikes.count() == 0)
    strong = hw.Stimulus(T1, (np.array([1.0, 2.0, 3.0]), np.zeros(0)), weight=63.0, rows=2, max_spikes=3)
    spikes = chip.measure(hw.Codes.default(), strong, key)
    assert np.all(spikes.spikes.count() >= 1) and spikes.spikes.times.shape == (512, 3)


def test_the_scaling_of_an_ideal_chip_is_that_of_calix_targets(key):
    """45 LSB between leak and threshold, 0.9 LSB/10 µs per weight with time constants of 10 µs: 50 LSB per unit."""
    net, chip = ep.FeedForward(network().layers[:1]), hw.Emulated(hw.Chip.ideal())
    setup = hw.Experiment(place(net), hw.Calibration.from_codes(hw.Codes.default(), chip), 1.0, 1 / 45, LEAK)
    scales = hw.measure_scaling(setup, net, chip, key, trials=2)
    np.testing.assert_allclose(scales, [50], rtol=0.02)


def test_a_drift_of_the_model_is_no_response(key):
    """The chip in NumPy knows no bias: what the model does without an event plays no part."""
    plain = ep.FeedForward([(ep.Dense(jnp.ones((2, 3))), ep.LIF(10.0, 10.0))])
    biased = ep.FeedForward([(ep.Dense(jnp.ones((2, 3))), ep.LIF(10.0, 10.0, bias=0.3))])
    one, other = (hw.measure_scaling(experiment(net), net, device(), key, trials=2) for net in (plain, biased))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_the_scaling_is_measured_through_the_device(key):
    """50 LSB per unit, and the mean of the gains of the neurons that were measured, whose fixed pattern is hidden."""
    net, chip = network(), device()
    scales = hw.measure_scaling(experiment(net), net, chip, key)
    gains = chip.driver.gain
    np.testing.assert_allclose(scales, [50 / gains[:6].mean(), 50 / gains[:2].mean()], rtol=0.02)
    with pytest.raises(Exception, match="a neuron has spiked while its synapses were measured with weight = 63"):
        strong = device(NumpyChip(threshold=90.0))
        jax.block_until_ready(hw.measure_scaling(experiment(net), net, strong, key, weight=63))
