"""Training in the loop: values from the device, derivatives from the model at what the device has done."""

import dataclasses

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eventprop as ep
import hardware as hw
from hardware.gradients import Recorded, rank_of, trains_of
from hardware.routing import place

WEIGHTS = [3.1, 3.0, -1.3, 4.4, 7.2]
RECORD = hw.Record(max_spikes=4)
T1 = 30.0


def trial():
    return ep.Spikes.from_events([1.0, 3.0, 6.0, 8.0, 9.5], [0, 1, 2, 3, 4])


def network(refractory=None, second=((1.0, -0.6), (0.3, 1.7))):
    """One neuron that fires twice, one that fires once, two readouts; weights that are whole at 10 LSB per unit."""
    first = ep.Dense(jnp.asarray([WEIGHTS, [0.5, 4.0, 2.0, 0.1, 0.0]]))
    return ep.FeedForward(
        [(first, ep.LIF(20.0, 5.0, refractory=refractory)), (ep.Dense(jnp.asarray(second)), ep.LI(20.0, 5.0))]
    )


def experiment(net, repetitions=2):
    return hw.Experiment(place(net, input_repetitions=repetitions), None, 10.0, 1 / 45, 80.0)


def loss(times, index, voltage):
    """Of spike times of the first layer, and of the readouts' potentials."""
    late = jnp.sum(jnp.where(times < jnp.inf, times, 0) * (1 + index))
    return late + jnp.sum(jnp.sin(voltage))


def recorded_loss(recording):
    return loss(recording.spikes[0].times, recording.spikes[0].index, recording.voltage[1])


def simulated_loss(net, spikes):
    """The same of the model, without a device."""
    saveat = diffrax.SaveAt(ts=jnp.arange(0.0, T1, 1.7))
    found = ep.simulate(net, spikes, T1, solver=ep.Exact(4), saveat=saveat)
    events = found.spikes[0].merge()[0]
    return loss(events.times, events.index, found.ys[1])


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def test_the_mock_fires_where_theory_says(x64, key):
    """Inputs at 1, 3, 6, 8, 9.5 over the weights 3.14 ... 7.2, which 10 LSB per unit round; 72 is clipped."""
    net = ep.FeedForward([(ep.Dense(jnp.asarray([[3.14, 2.97, -1.26, 4.44, 7.2]])), ep.LIF(20.0, 5.0))])
    found = hw.run(experiment(net, 1), net, hw.Ideal(), trial(), 15.0, key, RECORD)
    times, _ = found.spikes[0].to_events()
    np.testing.assert_allclose(times, [9.101478, 11.925260], atol=1e-6)
    assert found.saturated == 1 and found.drops == 0


def recurrent():
    """The same neurons, which also drive and inhibit one another."""
    first, second = network().layers
    return ep.Recurrent([(*first, ep.Dense(jnp.asarray([[-0.5, 1.5], [1.0, 0.4]]))), second])


@pytest.mark.parametrize(
    ("strategy", "net", "rtol"),
    [
        (hw.Replay(minimum=1e-6), recurrent, 2e-4),
        (hw.FirstSpike(minimum=1e-6), lambda: network(ep.FiresOnce()), 1e-9),
    ],
)
def test_on_the_mock_the_gradient_is_that_of_the_model(x64, key, strategy, net, rtol):
    """In weights, lateral ones too, and in input times; Replay to the tolerance of its integration."""
    net = net()
    loop = hw.in_the_loop(experiment(net), hw.Ideal(), strategy, RECORD)

    def looped(both):
        return recorded_loss(loop(both[0], ep.Spikes(both[1], trial().index), T1, key))

    def direct(both):
        return simulated_loss(both[0], ep.Spikes(both[1], trial().index))

    value, found = eqx.filter_jit(eqx.filter_value_and_grad(looped))((net, trial().times))
    expected, wanted = eqx.filter_jit(eqx.filter_value_and_grad(direct))((net, trial().times))
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for a, b in zip(leaves(found), leaves(wanted), strict=True):
        np.testing.assert_allclose(a[np.isfinite(b)], b[np.isfinite(b)], rtol=rtol, atol=rtol / 10)
    assert all(np.any(x != 0) for x in leaves(found))


@pytest.mark.parametrize("reset", [ep.ResetBySubtraction(), ep.ResetToValue(-0.5)])
def test_surrogates_are_those_of_the_grid(x64, key, reset):
    """With samples at every step the gradient is that of Grid, up to who is how far above threshold at a spike."""
    dt, alpha = 0.02, 5.0
    neuron = ep.LIF(20.0, 5.0, reset=reset)
    base = network()
    net = ep.FeedForward([(base.layers[0][0], neuron), (base.layers[1][0], ep.LI(20.0, 5.0))])
    grid = ep.Grid(dt, 4, diffrax.Heun())
    device = hw.Ideal(solver=grid, limits=hw.Limits(cadc_period=dt))
    loop = hw.in_the_loop(experiment(net), device, hw.SuperSpike(alpha, dt), RECORD)
    adjoint, ts = ep.Surrogate(ep.SuperSpike(alpha)), jnp.arange(0.0, T1, dt)

    def score(voltage, raster):
        return jnp.mean(jnp.sin(voltage)) + jnp.mean(raster * jnp.arange(len(raster))[:, None])

    def looped(net):
        found = loop(net, trial(), T1, key)
        return score(found.voltage[1], found.raster[0])

    def direct(net):
        found = ep.simulate(net, trial(), T1, solver=grid, adjoint=adjoint, saveat=diffrax.SaveAt(ts=ts))
        return score(found.ys[1], found.raster[0])

    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(looped))(net)
    expected, wanted = eqx.filter_jit(eqx.filter_value_and_grad(direct))(net)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    for a, b in zip(leaves(gradient), leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=0.003 * np.max(np.abs(b)))


CHIP_BATCH = ep.Spikes.stack(
    [ep.Spikes.from_events([1.0 + shift, 3.0, 4.0 + shift, 7.0, 19.0], [0, 1, 2, 3, 4]) for shift in (0.0, 0.5)]
)


def chip_network():
    """Three neurons that each fire within 20 µs, without the last input, and a readout."""
    first = jnp.asarray([[1.2, 1.2, 1.2, 1.2, 0.5], [1.2, 0.8, 1.2, 1.2, 0.3], [1.0, 1.2, 1.2, 1.2, 0.4]])
    neuron = ep.LIF(10.0, 10.0, reset=ep.ResetToValue(-0.2), refractory=2.0)
    return ep.FeedForward([(ep.Dense(first), neuron), (ep.Dense(jnp.asarray([[0.4, -0.5, 0.6]])), ep.LI(10.0, 10.0))])


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [
        hw.FirstSpike(),
        pytest.param(hw.Replay(), marks=pytest.mark.slow),
        pytest.param(hw.SuperSpike(50.0), marks=pytest.mark.slow),
    ],
)
def test_gradients_on_two_chips_have_the_right_sign(key, strategy):
    """Chips side by side, with what is left of their pattern after a calibration; trials side by side on each."""
    net = chip_network()
    small = {"tau_mem": hw.Spread(0.05), "tau_syn": hw.Spread(0.05), "threshold": hw.Spread(4.0)}
    mismatch = dataclasses.replace(hw.NONE, leak=hw.Spread(8.0), cadc_offset=hw.Spread(2.0), synapse=0.04, **small)
    chips = jax.vmap(lambda k: hw.Chip.fabricate(k, mismatch))(jax.random.split(jax.random.key(5)))

    @eqx.filter_jit
    def on_chips(net, chips):
        def on_one(chip):
            device = hw.Emulated(chip)
            calibration = hw.Calibration.from_codes(hw.Codes.default(), device)
            setup = hw.Experiment(place(net), calibration, 50.0, 1 / 45, 80.0)
            loop = hw.in_the_loop(setup, device, strategy, RECORD)

            def score(net):
                found = loop(net, CHIP_BATCH, 20.0, key)
                first = hw.first_spikes(found.spikes[0], 3)
                soon = jnp.mean(jnp.where(first < jnp.inf, first, 0))
                if found.raster is not None:
                    soon = -jnp.sum(found.raster[0])
                return 1000 * soon + jnp.mean(hw.maximum(found.cadc[1])), (first, found.voltage[0])

            return eqx.filter_value_and_grad(score, has_aux=True)(net)

        return eqx.filter_vmap(on_one)(chips)

    (value, (first, voltage)), gradient = on_chips(net, chips)
    hidden, readout = (projection.connection.weight for projection in gradient.projections)
    assert value.shape == (2,) and first.shape == (2, 2, 3) and voltage.shape[:2] == (2, 2)
    assert np.all(np.isfinite(first)) and np.std(first[0] - first[1]) > 0.02
    assert np.all(np.isfinite(hidden)) and np.all(np.isfinite(readout))
    assert np.all(hidden[..., :4] <= 0) and np.all(np.sum(hidden < 0, axis=-1) >= 2)
    assert np.all(readout >= 0) and np.all(np.max(readout, axis=(1, 2)) > 1)


def test_a_batch_is_its_trials_side_by_side(x64, key):
    """Along leading axes, and under `jax.vmap`: the gradient of a mean is the mean of gradients."""
    net = network()
    loop = hw.in_the_loop(experiment(net), hw.Ideal(), hw.FirstSpike(), RECORD)
    batch = ep.Spikes.stack([trial(), ep.Spikes(trial().times + 0.5, trial().index)])

    def whole(net):
        return jnp.mean(loop(net, batch, T1, key).voltage[1])

    def mapped(net):
        return jnp.mean(jax.vmap(lambda spikes: loop(net, spikes, T1, key).voltage[1])(batch))

    gradients = [eqx.filter_jit(eqx.filter_grad(function))(net) for function in (whole, mapped)]
    for a, b in zip(*map(leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    assert np.any(leaves(gradients[0])[0] != 0)


def test_what_needs_codes_and_what_has_none(key):
    net = network()
    with pytest.raises(ValueError, match="an emulated chip needs codes"):
        hw.run(experiment(net), net, hw.Emulated(hw.Chip.ideal()), trial(), T1, key)
    with pytest.raises(ValueError, match="Ideal is no chip that codes could belong to"):
        hw.Calibration.from_codes(hw.Codes.default(), hw.Ideal())


def test_events_become_trains():
    events = ep.Spikes.from_events([1.0, 2.0, 3.0, 4.0], [1, 0, 1, 1])
    rank = rank_of(events, 3)
    np.testing.assert_array_equal(rank[:4], [0, 0, 1, 2])
    wanted = [[2, np.inf, np.inf], [1, 3, 4], [np.inf] * 3]
    np.testing.assert_array_equal(trains_of(events, rank, 3, 3).times, wanted)


def recorded(dtype):
    """Three spikes of one neuron, two of them in one step of 0.5 µs, and room for two more; samples of both neurons."""
    net = ep.FeedForward(
        [(ep.Dense(jnp.ones((1, 1))), ep.LIF(10.0, 10.0)), (ep.Dense(jnp.ones((1, 1))), ep.LI(10.0, 10.0))]
    )
    given = ep.Spikes.from_events([1.0, 2.0], [0, 0])
    net, given = jax.tree.map(lambda x: x.astype(jnp.float32) if eqx.is_inexact_array(x) else x, (net, given))
    events = ep.Spikes(jnp.array([4.1, 4.2, 5.0, jnp.inf, jnp.inf], jnp.float32), jnp.zeros(5, jnp.int32))
    samples = jnp.zeros((4, 1), dtype)
    return net, given, Recorded((events, None), (samples, samples), 1.7 * jnp.arange(4.0))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_spikes_of_one_step_are_counted(dtype, x64):
    net, given, found = recorded(dtype)
    (raster, _) = hw.SuperSpike(50.0, 0.5).follow(net, given, 6.0, found, 4).raster
    assert raster.sum() == 3 and raster[8, 0] == 2


def test_no_spike_has_no_derivative(x64):
    """The padding of the events stays where it is."""
    net, given, found = recorded(jnp.float32)

    def times(shift):
        moved = ep.Spikes(given.times + shift.astype(jnp.float32), given.index)
        return hw.Replay(forward=True, minimum=1e-3).follow(net, moved, 6.0, found, 4).spikes[0].times

    _, change = jax.jvp(times, (jnp.zeros(()),), (jnp.ones(()),))
    assert np.all(change[:3] != 0)
    np.testing.assert_array_equal(change[3:], 0)


def test_the_mock_has_room_for_what_is_recorded(key):
    net, most = network(), hw.Record(max_spikes=1)
    every = hw.run(experiment(net), net, hw.Ideal(), trial(), T1, key, RECORD)
    few = hw.run(experiment(net), net, hw.Ideal(solver=ep.Exact(4)), trial(), T1, key, most, throw=False)
    assert few.spikes[0].count() == 2 and few.drops == every.spikes[0].count() - 2 > 0
    with pytest.raises(Exception, match="the chip has lost events"):
        jax.block_until_ready(hw.run(experiment(net), net, hw.Ideal(solver=ep.Exact(4)), trial(), T1, key, most).drops)
    assert hw.measure_scaling(experiment(net), net, hw.Ideal(weight_scale=[50.0, 20.0]), key) == (50.0, 20.0)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (hw.FirstSpike(), "FirstSpike cannot follow the recurrent populations"),
        (hw.SuperSpike(), "SuperSpike needs the samples of all populations"),
    ],
)
def test_what_cannot_be_followed(key, strategy, message):
    net = ep.Recurrent([(ep.Dense(jnp.ones((2, 5))), ep.LIF(20.0, 5.0), ep.Dense(jnp.ones((2, 2))))])
    loop = hw.in_the_loop(experiment(net), hw.Ideal(), strategy, hw.Record(cadc=(), max_spikes=8), throw=False)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda s: loop(net, s, 10.0, key).drops, trial())


def test_surrogates_need_whole_steps(key):
    net = network()
    loop = hw.in_the_loop(experiment(net), hw.Ideal(), hw.SuperSpike(dt=0.5), RECORD)
    with pytest.raises(ValueError, match="must be a whole number of steps"):
        jax.eval_shape(lambda s: loop(net, s, 10.2, key).drops, trial())


def test_a_parameter_with_two_values(key):
    """The chip is calibrated to one, the model has the other."""
    net = ep.FeedForward([(ep.Dense(jnp.asarray([WEIGHTS])), ep.LI(hw.Mixed(20.0, 18.0), 5.0))])
    plain = ep.FeedForward([(ep.Dense(jnp.asarray([WEIGHTS])), ep.LI(20.0, 5.0))])
    targets = hw.Targets.of(net, place(net))
    np.testing.assert_allclose(targets.tau_mem[place(net).circuits[0][0]], 18.0)
    assert hw.hardware_side(net).neurons[0].tau_mem == 18.0
    found = hw.in_the_loop(experiment(net), hw.Ideal(), hw.FirstSpike(), RECORD)(net, trial(), T1, key)
    wanted = hw.run(experiment(plain), plain, hw.Ideal(), trial(), T1, key, RECORD)
    np.testing.assert_array_equal(found.voltage[0], wanted.voltage[0])
