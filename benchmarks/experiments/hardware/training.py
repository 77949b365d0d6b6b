"""Training on a chip: what Yin-Yang and MNIST have in common, from fabrication to the judgement."""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import eventprop as ep
import hardware as hw
from benchmarks.training import Metrics, Training, count_batches, scan_state, select, shuffled_batches
from eventprop.parameters import is_concrete

LEAK, SLOWEST = 80.0, 60.0
"""LSB, of all circuits; µs, the longest membrane time constant."""


@dataclasses.dataclass(frozen=True)
class OnChip:
    """A network on a chip of its own for each seed.

    The chip is fabricated and calibrated by the seed's key before the first epoch, and judges every epoch.
    """

    hidden: int = 120
    epochs: int = 30
    batch_size: int = 100
    learning_rate: float = 5e-3
    decay: float = 0.97
    """Factor of the learning rate per epoch."""
    answers: Literal["chip", "ideal", "model"] = "chip"
    """Who answers in training. chip: the loop, with the chip's values and the ideal model's derivatives. ideal: no
    chip (`Ideal`), so that the weights are transferred. model: the chip, and derivatives straight through its model."""
    decalibration: float = 0.0
    """Relative standard deviation of the targets of time constants and thresholds, neuron by neuron."""
    tau: float = 6.0
    """Both time constants, µs."""
    threshold: float = 150.0
    """LSB; the leak and the reset are at 80."""
    refractory: float = 2.0
    """µs."""
    dac_bias: float = 1000.0
    """Code of the synapses' strength."""
    weight_scale: float = 74.0
    """LSB per unit of weight, as `measure_scaling` finds them."""
    duration: float = 40.0
    """Of a trial, µs."""
    t_min: float = 2.0
    t_max: float = 26.0
    """µs, of the inputs' spikes."""
    max_spikes: int = 16
    """Bound on the spikes of a neuron."""
    readout: float = 10.0
    """Factor of the readouts' potentials in the loss. With small factors training lifts them beyond the CADC's largest
    sample, 2.5 thresholds above the leak."""
    clip: float = 10.0
    """Largest norm of a gradient."""


class State(eqx.Module):
    """What changes in training, and the chip. dropped: events lost by the chip, over the whole training."""

    network: Any
    optimiser: Any
    key: PRNGKeyArray
    chip: hw.Chip
    calibration: hw.Calibration
    dropped: Int[Array, ""]


class Outcome(eqx.Module):
    """Means over a batch; dropped is a sum. signals: what `ChipTraining.signals` says."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    spikes_per_neuron: Float[Array, ""]
    signals: dict[str, Any]
    dropped: Int[Array, ""]


class ChipTraining(Training):
    """The training problem of a configuration. Subclasses make the network and its loss."""

    epochs: int
    steps_per_epoch: int
    config: Any
    train_set: tuple[ep.Spikes, Int[Array, " samples"]]
    validation_set: tuple[ep.Spikes, Int[Array, " samples"]]
    test_set: tuple[ep.Spikes, Int[Array, " samples"]]

    def __init__(self, config: OnChip, train: Any, validation: Any, test: Any):
        self.config, self.epochs = config, config.epochs
        self.train_set, self.validation_set, self.test_set = train, validation, test
        self.steps_per_epoch = count_batches(train[1].shape[0], config.batch_size)

    @abc.abstractmethod
    def network(self, key: PRNGKeyArray) -> ep.AbstractNetwork:
        """A network to start from."""

    @abc.abstractmethod
    def placement(self, network: ep.AbstractNetwork) -> hw.Placement:
        """Where it sits."""

    @abc.abstractmethod
    def gradient(self) -> hw.AbstractGradient:
        """How the model's derivatives are taken at what the chip has recorded."""

    @abc.abstractmethod
    def loss(self, recording: hw.Recording, labels: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Loss and accuracy, means over a batch."""

    def placed(self, network: Any) -> ep.AbstractNetwork:
        """What the chip is calibrated for."""
        return network

    def learned(self, network: Any) -> list[Array]:
        """What training changes."""
        return weights(network)

    def init(self, key: PRNGKeyArray) -> State:
        for_chip, for_targets, for_search, for_network, key = jax.random.split(key, 5)
        chip = hw.Chip.fabricate(for_chip)
        network = self.clipped(self.network(for_network))
        calibration = hw.calibrate(hw.Emulated(chip), self._targets(self.placed(network), for_targets), for_search)
        optimiser = self.optimiser().init(self.learned(network))
        return State(network, optimiser, key, chip, calibration, jnp.zeros((), jnp.int32))

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, shuffle, runs, judged = jax.random.split(state.key, 4)
        batches = shuffled_batches(shuffle, self.train_set[1].shape[0], self.config.batch_size)
        state = dataclasses.replace(state, key=key)
        state, outcomes = scan_state(self._step, state, (batches, jax.random.split(runs, batches.shape[0])))
        trained = _mean(outcomes)
        validation = self._judge(state, self.validation_set, judged)
        state = dataclasses.replace(state, dropped=state.dropped + trained.dropped)
        return state, {
            "train_loss": trained.loss,
            "train_accuracy": trained.accuracy,
            "validation_loss": validation.loss,
            "validation_accuracy": validation.accuracy,
            "spikes_per_neuron": validation.spikes_per_neuron,
            "events_dropped": state.dropped,
        }

    def finish(self, state: State) -> tuple[Metrics, ep.AbstractNetwork, ep.RESULTS]:
        test = self._judge(state, self.test_set, state.key)
        metrics = {"test_accuracy": test.accuracy, "test_loss": test.loss}
        return metrics, state.network, ep.RESULTS.successful

    def _targets(self, network: ep.AbstractNetwork, key: PRNGKeyArray) -> hw.Targets:
        """Those of the network, or decalibrated ones: time constants and thresholds differ from neuron to neuron."""
        c, sizes = self.config, network.sizes

        def spread(number: int, value: Any, least: float, most: float) -> tuple[Any, ...]:
            if is_concrete(c.decalibration) and c.decalibration == 0:  # known numbers are measured sooner
                return (value,) * len(sizes)
            keys = jax.random.split(jax.random.fold_in(key, number), len(sizes))
            factors = [1 + c.decalibration * jax.random.normal(k, (n,)) for k, n in zip(keys, sizes, strict=True)]
            return tuple(jnp.clip(value * factor, least, most) for factor in factors)

        step = c.threshold - LEAK
        return hw.Targets.of(
            network,
            self.placement(network),
            leak=LEAK,
            reset=LEAK,
            threshold=tuple(LEAK + x for x in spread(0, step, 10.0, 220.0 - LEAK)),
            tau_mem=spread(1, c.tau, 0.5, SLOWEST),
            tau_syn_exc=(tau := spread(2, c.tau, 0.3, 30.0)),
            tau_syn_inh=tau,
            refractory_time=c.refractory,
            synapse_dac_bias=c.dac_bias,
        )

    def _experiment(self, state: State, network: ep.AbstractNetwork) -> hw.Experiment:
        return hw.Experiment(
            self.placement(network),
            state.calibration,
            weight_scale=self.config.weight_scale,
            trace_scale=1 / (self.config.threshold - LEAK),
            trace_offset=LEAK,
        )

    def _run(self, state: State, trained: bool) -> Callable[..., hw.Recording]:
        """Who answers, (network, spikes, t1, key): the chip, or in training what the configuration says."""
        record, answers = hw.Record(max_spikes=self.config.max_spikes), self.config.answers
        device: hw.AbstractDevice = hw.Emulated(state.chip, adjoint=ep.Surrogate(ep.SuperSpike(10.0)))

        def measured(network, spikes, t1, key):
            return hw.run(self._experiment(state, network), network, device, spikes, t1, key, record, throw=False)

        if not trained or answers == "model":
            return measured
        device = hw.Ideal() if answers == "ideal" else device

        def looped(network, spikes, t1, key):
            experiment = self._experiment(state, network)
            loop = hw.in_the_loop(experiment, device, self.gradient(), record, throw=False)
            return loop(network, spikes, t1, key)

        return looped

    def answer(self, run: Callable[..., hw.Recording], network: Any, spikes: ep.Spikes, key: PRNGKeyArray):
        """What `run` says to a batch."""
        return run(network, spikes, self.config.duration, key)

    def _step(self, state: State, given: tuple[Int[Array, " batch"], PRNGKeyArray]) -> tuple[State, Outcome]:
        batch, key = given
        spikes, labels = select(self.train_set, batch)
        run = self._run(state, trained=True)

        def loss(learned):
            network = eqx.tree_at(self.learned, state.network, learned)
            outcome = self._outcome(self.answer(run, network, spikes, key), labels)
            return outcome.loss + self.penalty(network), outcome

        learned = self.learned(state.network)
        gradient, outcome = jax.grad(loss, has_aux=True)(learned)
        updates, optimiser = self.optimiser().update(gradient, state.optimiser, learned, **outcome.signals)
        network = eqx.tree_at(self.learned, state.network, optax.apply_updates(learned, updates))
        return dataclasses.replace(state, network=self.clipped(network), optimiser=optimiser), outcome

    def penalty(self, network: ep.AbstractNetwork) -> Float[Array, ""]:
        """What is added to the loss."""
        del network
        return jnp.zeros(())

    def clipped(self, network: Any) -> Any:
        """The network with weights that fit on the chip."""
        largest = hw.largest_weights(self.placement(network), self.config.weight_scale)
        inside = [jnp.clip(w, -most, most) for w, most in zip(weights(network), largest, strict=True)]
        return eqx.tree_at(weights, network, inside)

    def _judge(self, state: State, data: tuple[ep.Spikes, Array], key: PRNGKeyArray) -> Outcome:
        """Always on the chip."""
        run = self._run(state, trained=False)

        def part(given):
            indices, key = given
            spikes, labels = select(data, indices)
            return self._outcome(self.answer(run, state.network, spikes, key), labels)

        samples = data[1].shape[0]
        parts = jnp.arange(samples).reshape(-1, math.gcd(samples, 200))
        return _mean(jax.lax.map(part, (parts, jax.random.split(key, parts.shape[0]))))

    def _outcome(self, recording: hw.Recording, labels: Array) -> Outcome:
        loss, accuracy = self.loss(recording, labels)
        hidden = recording.spikes[0]
        assert hidden is not None  # it spikes
        count = jnp.mean(jnp.sum(hidden.times < jnp.inf, axis=-1)) / self.config.hidden
        dropped = jnp.sum(recording.drops, dtype=jnp.int32)
        return Outcome(loss, accuracy, count, self.signals(recording, labels), dropped)

    def signals(self, recording: hw.Recording, labels: Array) -> dict[str, Any]:
        """What the optimiser is told beside the gradient, means over a batch."""
        del recording, labels
        return {}

    def optimiser(self) -> optax.GradientTransformationExtraArgs:
        """Of what is learned."""
        c = self.config
        rate = optax.exponential_decay(c.learning_rate, self.steps_per_epoch, c.decay, staircase=True)
        return optax.chain(optax.clip_by_global_norm(c.clip), optax.adam(rate))


def largest_potential(
    recording: hw.Recording, labels: Array, factor: float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Cross-entropy (of potentials times a factor) and accuracy of the readouts' largest samples."""
    voltage = recording.voltage[-1]
    assert voltage is not None  # readouts are sampled
    largest = hw.maximum(voltage)
    loss = jax.vmap(ep.voltage_cross_entropy)(factor * largest, labels)
    return jnp.mean(loss), jnp.mean(jnp.argmax(largest, axis=-1) == labels)


def weights(network: Any) -> list[Any]:
    """Those of all projections."""
    return [p.connection.weight for p in network.projections]


def _mean(outcomes: Outcome) -> Outcome:
    means = jax.tree.map(lambda x: jnp.mean(x, axis=0), outcomes)
    return eqx.tree_at(lambda o: o.dropped, means, jnp.sum(outcomes.dropped, axis=0, dtype=jnp.int32))
