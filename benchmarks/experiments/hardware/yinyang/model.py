"""Yin-Yang on a chip (Göltz et al. 2021; hxtorch's recipe): readouts by potential, or by first spikes."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

import eventprop as ep
import hardware as hw
from benchmarks.datasets import yinyang
from benchmarks.experiments.hardware.training import ChipTraining, OnChip, largest_potential, weights
from benchmarks.training import Metrics, train

INPUTS, CLASSES = 5, 3


@dataclasses.dataclass(frozen=True)
class ChipYinYang(OnChip):
    """Yin-Yang on a chip, 5-120-3, in the loop."""

    input_repetitions: int = 5
    """Row pairs of each input synapse: weights reach 63 times that, in LSB."""
    hidden_mean: float = 0.6
    hidden_std: float = 0.8
    output_mean: float = 0.0
    output_std: float = 0.1


@dataclasses.dataclass(frozen=True)
class ChipYinYangFirst(ChipYinYang):
    """Yin-Yang on a chip, 5-30-3, first spikes."""

    hidden: int = 30
    batch_size: int = 40
    hidden_mean: float = 1.3
    hidden_std: float = 0.7
    output_mean: float = 0.82
    output_std: float = 0.09
    refractory: float = 30.0
    """Neurons fire once or so."""
    max_spikes: int = 4
    duration: float = 50.0
    tau0: float = 1.0
    """µs, of the cross-entropy of first spikes."""
    tau1: float = 6.4
    alpha: float = 0.003
    recall: float = 10.0
    """Gradient, per synapse, of each output's rate of silence where it is the label: no spike, no derivative."""


@dataclasses.dataclass(frozen=True)
class ChipYinYangDelays(ChipYinYangFirst):
    """Yin-Yang on a chip, 5-30-3, axonal delays."""

    longest_delay: float = 6.0
    """Delays begin uniformly distributed from 0 to here, µs."""
    delay_rate: float = 10.0
    """Learning rate of the delays, in units of that of the weights."""
    hidden_repetitions: int = 2
    """Row pairs of each synapse between the layers."""


class ChipYinYangTraining(ChipTraining):
    """Inputs x, y, 1 - x, 1 - y and a bias, by latency; three readouts, of which the largest potential counts."""

    def __init__(self, config: ChipYinYang):
        data = yinyang.load()
        encode = jax.vmap(ep.Latency(config.t_min, config.t_max, config.t_min))
        parts = [
            (encode(jnp.asarray(x.features, jnp.float32)), jnp.asarray(x.labels))
            for x in (data.train, data.validation, data.test)
        ]
        super().__init__(config, *parts)

    def network(self, key: PRNGKeyArray) -> Any:
        c = self.config
        one, other = jax.random.split(key)
        hidden = ep.Dense.init(INPUTS, c.hidden, ep.Normal(c.hidden_mean, c.hidden_std), key=one)
        output = ep.Dense.init(c.hidden, CLASSES, ep.Normal(c.output_mean, c.output_std), key=other)
        neuron = ep.LIF(c.tau, c.tau, refractory=c.refractory)
        return ep.FeedForward([(hidden, neuron), (output, self.readout(neuron))])

    def readout(self, neuron: ep.LIF) -> ep.LIF | ep.LI:
        """The neuron of the last layer."""
        return ep.LI(neuron.tau_mem, neuron.tau_syn)

    def placement(self, network: ep.AbstractNetwork) -> hw.Placement:
        return hw.place(network, input_repetitions=self.config.input_repetitions)

    def gradient(self) -> hw.AbstractGradient:
        return hw.SuperSpike(10.0)

    def loss(self, recording: hw.Recording, labels: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return largest_potential(recording, labels, self.config.readout)


class ChipYinYangFirstTraining(ChipYinYangTraining):
    """The same with three outputs that spike, of which the first one counts."""

    def readout(self, neuron: ep.LIF) -> ep.LIF | ep.LI:
        return neuron

    def gradient(self) -> hw.AbstractGradient:
        return hw.FirstSpike()

    def loss(self, recording: hw.Recording, labels: Array) -> tuple[Float[Array, ""], Float[Array, ""]]:
        c, output = self.config, recording.spikes[-1]
        assert output is not None  # outputs spike
        first = hw.first_spikes(output, CLASSES)
        late = c.duration + c.tau

        def one(times, label):
            loss = ep.first_spike_cross_entropy(times, label, tau0=c.tau0, tau1=c.tau1, alpha=c.alpha, silent_time=late)
            return loss, ep.first_spike_accuracy(times, label)

        loss, accuracy = jax.vmap(one)(first, labels)
        return jnp.mean(loss), jnp.mean(accuracy)

    def signals(self, recording: hw.Recording, labels: Array) -> dict[str, Any]:
        """Of each output 1 - the rate of trials in which it is the label and silent."""
        output = recording.spikes[-1]
        assert output is not None  # outputs spike
        silent = hw.first_spikes(output, CLASSES) == jnp.inf
        return {"counts": (None, 1 - jnp.mean(silent & jax.nn.one_hot(labels, CLASSES, dtype=bool), axis=0))}

    def optimiser(self) -> optax.GradientTransformationExtraArgs:
        recall = ep.spike_count_regulariser(self.config.recall, low=(0.0, 1.0), high=(jnp.inf, jnp.inf))
        return optax.chain(recall, super().optimiser())


class Delayed(eqx.Module):
    """Two layers that run on the chip one after the other, and the delays of the axons that lead to each.

    The chip has no delays: the host adds them to the spikes that it sends, so hidden spikes go through it.
    """

    layers: tuple[ep.FeedForward, ep.FeedForward]
    delays: tuple[Float[Array, " inputs"], Float[Array, " hidden"]]

    @property
    def projections(self) -> tuple[ep.Projection, ...]:
        """Those of both layers."""
        return tuple(p for layer in self.layers for p in layer.projections)


class ChipYinYangDelaysTraining(ChipYinYangFirstTraining):
    """The same with a delay per source, which the host makes."""

    def network(self, key: PRNGKeyArray) -> Delayed:
        hidden, output = super().network(key).layers
        keys = jax.random.split(jax.random.fold_in(key, 1))
        c = self.config
        return Delayed(
            (ep.FeedForward([hidden]), ep.FeedForward([output])),
            (
                jax.random.uniform(keys[0], (INPUTS,), maxval=c.longest_delay),
                jax.random.uniform(keys[1], (c.hidden,), maxval=c.longest_delay),
            ),
        )

    def placement(self, network: ep.AbstractNetwork) -> hw.Placement:
        c = self.config
        from_data = network.inputs == INPUTS
        return hw.place(network, input_repetitions=c.input_repetitions if from_data else c.hidden_repetitions)

    def placed(self, network: Delayed) -> ep.AbstractNetwork:
        return network.layers[0]

    def answer(self, run, network: Delayed, spikes: ep.Spikes, key: PRNGKeyArray) -> hw.Recording:
        one, other = jax.random.split(key)
        first = super().answer(run, network.layers[0], later(spikes, network.delays[0]), one)
        (hidden,) = first.spikes
        assert hidden is not None  # it spikes
        second = super().answer(run, network.layers[1], later(hidden, network.delays[1]), other)
        return dataclasses.replace(second, spikes=(hidden, *second.spikes), drops=first.drops + second.drops)

    def clipped(self, network: Delayed) -> Delayed:
        clip = super().clipped
        return eqx.tree_at(lambda n: n.layers, network, (clip(network.layers[0]), clip(network.layers[1])))

    def learned(self, network: Delayed) -> list[Array]:
        return [*weights(network), *network.delays]

    def optimiser(self) -> optax.GradientTransformationExtraArgs:
        delays = optax.masked(optax.scale(self.config.delay_rate), [False, False, True, True])
        return optax.chain(super().optimiser(), delays)


def later(spikes: ep.Spikes, delay: Float[Array, " sources"]) -> ep.Spikes:
    """Events after the delays of their sources, in order."""
    times = spikes.times + jnp.maximum(delay, 0)[spikes.index]
    order = jnp.argsort(lax.stop_gradient(times), axis=-1)
    return ep.Spikes(*(jnp.take_along_axis(x, order, axis=-1) for x in (times, spikes.index)))


def chip_yinyang(config: ChipYinYang, key: PRNGKeyArray) -> tuple[Metrics, ep.AbstractNetwork, ep.RESULTS]:
    """Train and judge one network on one chip."""
    return train(training_of(config), key)


def training_of(config: ChipYinYang) -> ChipYinYangTraining:
    """The training of a configuration."""
    kinds = {ChipYinYangDelays: ChipYinYangDelaysTraining, ChipYinYangFirst: ChipYinYangFirstTraining}
    return kinds.get(type(config), ChipYinYangTraining)(config)
