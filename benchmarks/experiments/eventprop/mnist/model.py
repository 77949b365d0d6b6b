"""MNIST by the largest potentials of readouts that do not spike, with exact gradients (authors' code, later recipe)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

import eventprop as ep
from benchmarks import datasets
from benchmarks.datasets import DataSet, Split
from benchmarks.training import Metrics, Training, count_batches, scan_state, select, shuffled_batches, train

CLASSES = 10
JUDGED = 50
"""Images that are judged at a time."""
DARKEST = 1
"""Grey values up to this one do not spike."""


@dataclasses.dataclass(frozen=True)
class Mnist:
    """MNIST, 784-350-10, largest potential of each readout.

    The published runs had 100 epochs with decay 0.95, and judged on one half of the published test set.
    """

    hidden: int = 350
    epochs: int = 20
    batch_size: int = 5
    learning_rate: float = 5e-3
    decay: float = 0.82
    """Factor of the learning rate per epoch."""
    tau_mem: float = 20.0
    tau_syn: float = 5.0
    t_max: float = 30.0
    """White pixels spike at 0, the darkest ones that do at nearly this time; black ones never do."""
    dropout: float = 0.2
    """Probability that an input spike is left out in training."""
    hidden_mean: float = 0.078
    hidden_std: float = 0.045
    output_mean: float = 0.2
    output_std: float = 0.37
    minimum_slope: float = 1e-3
    """Smaller slopes count as this one in derivatives (`ClipSlope`), in thresholds per membrane time constant."""
    max_spikes: int = 64
    """Bound on the spikes of a hidden neuron."""
    max_events: int = 1536
    """Bound on the spikes of the hidden layer."""


class State(eqx.Module):
    """What changes in training. `lost` counts spikes beyond the bounds, over the whole training."""

    network: ep.FeedForward
    optimiser: Any
    key: PRNGKeyArray
    lost: Int[Array, ""]


class Outcome(eqx.Module):
    """One trial: its loss and what to watch."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    spikes: Float[Array, ""]
    """Per hidden neuron."""
    most: Int[Array, ""]
    """Of one hidden neuron."""
    lost: Int[Array, ""]


class MnistTraining(Training):
    """The training problem of a configuration, whose float fields may be traced."""

    epochs: int
    steps_per_epoch: int
    config: Mnist
    train_set: tuple[ep.Spikes, Int[Array, " samples"]]
    validation_set: tuple[ep.Spikes, Int[Array, " samples"]]
    test_set: tuple[ep.Spikes, Int[Array, " samples"]]

    def __init__(self, config: Mnist, data: DataSet | None = None):
        data = datasets.load("mnist") if data is None else data
        self.config, self.epochs = config, config.epochs
        self.train_set, self.validation_set, self.test_set = (
            (encode(split, config.t_max), jnp.asarray(split.labels))
            for split in (data.train, data.validation, data.test)
        )
        self.steps_per_epoch = count_batches(len(data.train), config.batch_size)

    def init(self, key: PRNGKeyArray) -> State:
        hidden_key, output_key, key = jax.random.split(key, 3)
        c, pixels = self.config, 28 * 28
        hidden = ep.Dense.init(pixels, c.hidden, ep.Normal(c.hidden_mean, c.hidden_std), key=hidden_key)
        output = ep.Dense.init(c.hidden, CLASSES, ep.Normal(c.output_mean, c.output_std), key=output_key)
        network = ep.FeedForward([(hidden, ep.LIF(c.tau_mem, c.tau_syn)), (output, ep.LI(c.tau_mem, c.tau_syn))])
        return State(network, self._optimiser().init(_weights(network)), key, jnp.zeros((), jnp.int32))

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, shuffle, drop = jax.random.split(state.key, 3)
        batches = shuffled_batches(shuffle, self.train_set[1].shape[0], self.config.batch_size)
        drops = jax.random.split(drop, batches.shape[0])
        state = State(state.network, state.optimiser, key, state.lost)
        state, outcomes = scan_state(self._step, state, (batches, drops))
        trained, validation = _summary(outcomes), self._judge(state.network, self.validation_set)
        return state, {
            "train_loss": trained.loss,
            "train_accuracy": trained.accuracy,
            "validation_loss": validation.loss,
            "validation_accuracy": validation.accuracy,
            "spikes_per_neuron": validation.spikes,
            "most_spikes": trained.most,
            "spikes_lost": state.lost,
        }

    def finish(self, state: State) -> tuple[Metrics, ep.FeedForward, ep.RESULTS]:
        test = self._judge(state.network, self.test_set)
        lost = (state.lost + test.lost) > 0
        result = ep.RESULTS.where(lost, ep.RESULTS.spikes_lost, ep.RESULTS.successful)
        return {"test_accuracy": test.accuracy, "test_loss": test.loss}, state.network, result

    def simulate(self, network: ep.FeedForward, spikes: ep.Spikes, **options: Any) -> ep.Solution:
        """One trial without end."""
        solver = ep.Exact(self.config.max_spikes, max_events=self.config.max_events)
        adjoint = ep.Implicit(ep.ClipSlope(self.config.minimum_slope))
        return ep.simulate(network, spikes, jnp.inf, solver=solver, adjoint=adjoint, throw=False, **options)

    def maxima(self, network: ep.FeedForward, spikes: ep.Spikes) -> tuple[Float[Array, " classes"], ep.Solution]:
        """The largest potential of each readout in one trial without end, and what the network did.

        The readouts hear the list of hidden spikes, as a network of their own: so a spike too many is counted, where
        `voltage_maximum` of the whole network would raise.
        """
        solution = self.simulate(network, spikes)
        heard, _ = _hidden(solution).merge(self.config.max_events)
        readouts = ep.FeedForward(network.layers[1:])
        alone = ep.simulate(readouts, heard, jnp.inf, solver=ep.Exact(1), throw=False)
        return ep.voltage_maximum(readouts, heard, alone, jnp.inf), solution

    def _step(self, state: State, chosen: tuple[Int[Array, " batch"], PRNGKeyArray]) -> tuple[State, Outcome]:
        batch, key = chosen
        spikes, labels = select(self.train_set, batch)
        drop = jax.random.bernoulli(key, self.config.dropout, spikes.times.shape)
        spikes = jax.vmap(without)(spikes, drop)

        def loss(weights):
            outcome = _summary(
                jax.vmap(self._outcome, (None, 0, 0))(_with_weights(state.network, weights), spikes, labels)
            )
            return outcome.loss, outcome

        weights = _weights(state.network)
        gradient, outcome = jax.grad(loss, has_aux=True)(weights)
        updates, optimiser = self._optimiser().update(gradient, state.optimiser, weights)
        network = _with_weights(state.network, eqx.apply_updates(weights, updates))
        return State(network, optimiser, state.key, state.lost + outcome.lost), outcome

    def _outcome(self, network: ep.FeedForward, spikes: ep.Spikes, label: Int[Array, ""]) -> Outcome:
        maxima, solution = self.maxima(network, spikes)
        counts = _hidden(solution).count()
        accuracy = (jnp.argmax(maxima) == label).astype(maxima.dtype)
        loss = ep.voltage_cross_entropy(maxima, label)
        return Outcome(
            loss, accuracy, jnp.mean(counts, dtype=loss.dtype), jnp.max(counts), solution.stats["spikes_lost"]
        )

    def _judge(self, network: ep.FeedForward, data: tuple[ep.Spikes, Array]) -> Outcome:
        return _summary(jax.lax.map(lambda sample: self._outcome(network, *sample), data, batch_size=JUDGED))

    def _optimiser(self) -> optax.GradientTransformation:
        c = self.config
        return optax.adam(optax.exponential_decay(c.learning_rate, self.steps_per_epoch, c.decay, staircase=True))


def encode(split: Split, t_max: float | Float[Array, ""]) -> ep.Spikes:
    """One spike per pixel, t = t_max (1 - grey / 255), the sooner the brighter; none where it is (nearly) black.

    So a digit has some 150 events instead of 784. All have room for as many as the brightest image of the split.
    """
    grey = split.features.reshape(len(split), -1)
    spiking = grey > DARKEST
    order = np.argsort(-(grey * spiking).astype(np.int16), axis=1, kind="stable")[
        :, : max(np.max(spiking.sum(axis=1)), 1)
    ]
    grey, spiking = (np.take_along_axis(x, order, axis=1) for x in (grey, spiking))
    times = jnp.where(spiking, t_max * jnp.asarray(1 - grey / 255, dtype=float), jnp.inf)
    return ep.Spikes(times, jnp.asarray(np.where(spiking, order, 0), jnp.int32))


def without(spikes: ep.Spikes, drop: Bool[Array, " events"]) -> ep.Spikes:
    """The events of a trial that are not dropped, in order, padded at the end."""
    keep = ~drop & (spikes.times < jnp.inf)
    place = jnp.where(keep, jnp.cumsum(keep) - 1, keep.size)
    times = jnp.full_like(spikes.times, jnp.inf).at[place].set(spikes.times, mode="drop")
    return ep.Spikes(times, jnp.zeros_like(spikes.index).at[place].set(spikes.index, mode="drop"))


def _hidden(solution: ep.Solution) -> ep.SpikeTrains:
    hidden = solution.spikes[0]
    assert hidden is not None  # the first layer spikes
    return hidden


def _weights(network: ep.FeedForward) -> list[Array]:
    return [connection.weight for connection, _ in network.layers]


def _with_weights(network: ep.FeedForward, weights: list[Array]) -> ep.FeedForward:
    return eqx.tree_at(lambda n: [connection.weight for connection, _ in n.layers], network, weights)


def _summary(outcomes: Outcome) -> Outcome:
    """Over the first axis: the means, the most spikes of a neuron, and the sum of lost ones."""
    loss, accuracy, spikes = (jnp.mean(x, axis=0) for x in (outcomes.loss, outcomes.accuracy, outcomes.spikes))
    return Outcome(
        loss, accuracy, spikes, jnp.max(outcomes.most, axis=0), jnp.sum(outcomes.lost, axis=0, dtype=jnp.int32)
    )


def mnist_experiment(config: Mnist, key: PRNGKeyArray) -> tuple[Metrics, ep.FeedForward, ep.RESULTS]:
    """Train and judge one network."""
    return train(MnistTraining(config), key)
