"""Delayed match to sample by recurrent neurons that adapt: EventProp beside surrogate gradients."""

import dataclasses
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import eventprop as ep
from benchmarks.training import Metrics, Training, scan_state, train

VALIDATION, TEST = 1, 2
"""Seeds of the two sets, which are the same for every seed of a training."""
LOOKS = 4
"""Moments at which the readouts are looked at, equally spaced from the end of the second cue to that of the trial."""


@dataclasses.dataclass(frozen=True)
class MatchToSample:
    """Match to sample after a delay, EventProp.

    A cue of one of two kinds, silence, another cue: were they of the same kind? Each kind has inputs of its own, each
    of which spikes once during the cue, at random. In the silence, several membrane time constants long, nothing but
    the neurons' adaptation, and what they say to each other, can keep the first cue.
    """

    hidden: int = 16
    inputs: int = 8
    """Of each kind."""
    epochs: int = 15
    steps: int = 20
    """Minibatches in an epoch, of trials that are drawn anew."""
    batch_size: int = 32
    learning_rate: float = 5e-3
    decay: float = 0.85
    """Factor of the learning rate per epoch."""
    cue: float = 10.0
    """Length of a cue in ms."""
    silence: float = 60.0
    """From the end of the first cue to the beginning of the second."""
    response: float = 20.0
    """From the end of the second cue to that of the trial: the readouts' mean potential of that time decides."""
    tau_mem: float = 10.0
    tau_syn: float = 5.0
    tau_adaptation: float = 100.0
    adaptation: float = 0.3
    """What a spike adds to its neuron's threshold, of 1."""
    input_mean: float = 1.0
    input_std: float = 0.6
    lateral_std: float = 0.2
    """Of the weights between hidden neurons, which begin around 0."""
    output_std: float = 0.5
    gain: float = 5.0
    """Of the readouts' potentials in the softmax."""
    minimum_slope: float = 0.1
    """EventProp: smaller slopes count as this one in derivatives, in thresholds per membrane time constant."""
    gradient_clip: float = 1.0
    """Largest norm of a minibatch's gradient, which is scaled down to it."""
    max_spikes: int = 24
    """Bound on the spikes of a hidden neuron."""
    max_events: int = 256
    """Bound on the spikes of the hidden layer."""
    max_steps: int = 768
    """Hybrid: bound on the steps and events of a trial."""
    tolerance: float = 1e-4
    """Hybrid: of its steps, relative and absolute."""
    dt: float = 0.5
    """Grid: a step."""
    steepness: float = 10.0
    """Of SuperSpike."""
    method: Literal["eventprop", "surrogate"] = "eventprop"
    """`EventProp` on `Hybrid`, or `Surrogate(SuperSpike)` on `Grid`, in training and when judged."""


@dataclasses.dataclass(frozen=True)
class MatchToSampleSurrogate(MatchToSample):
    """Match to sample, surrogates."""

    method: Literal["eventprop", "surrogate"] = "surrogate"


class State(eqx.Module):
    """What changes in training. `lost` counts trials that went beyond the bounds, over the whole training."""

    network: ep.Recurrent
    optimiser: Any
    key: PRNGKeyArray
    lost: Int[Array, ""]


class Outcome(eqx.Module):
    """One trial: its loss and what to watch."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]
    spikes: Float[Array, ""]
    """Per hidden neuron."""
    lost: Int[Array, ""]
    """1 if the trial went beyond a bound."""


Trials = tuple[ep.Spikes, Int[Array, " trials"]]
"""Input spikes, and whether both cues were of one kind (1) or not (0)."""


class MatchToSampleTraining(Training):
    """The training problem of a configuration, whose float fields may be traced, but not times: a grid counts steps."""

    epochs: int
    steps_per_epoch: int
    config: MatchToSample
    duration: float = eqx.field(static=True)
    validation_set: Trials
    test_set: Trials

    def __init__(self, config: MatchToSample, judged: int = 256):
        self.config, self.epochs, self.steps_per_epoch = config, config.epochs, config.steps
        self.duration = 2 * config.cue + config.silence + config.response
        self.validation_set, self.test_set = (draw(config, jax.random.key(seed), judged) for seed in (VALIDATION, TEST))

    def init(self, key: PRNGKeyArray) -> State:
        c = self.config
        inner, lateral, outer, key = jax.random.split(key, 4)
        adaptation = ep.AdaptiveThreshold(c.adaptation, c.tau_adaptation)
        neuron = ep.ALIF(tau_mem=c.tau_mem, synapses=ep.CurrentSynapses((c.tau_syn,)), adaptation=adaptation)
        network = ep.Recurrent(
            [
                (
                    ep.Dense.init(2 * c.inputs, c.hidden, ep.Normal(c.input_mean, c.input_std), key=inner),
                    neuron,
                    ep.Dense.init(c.hidden, c.hidden, ep.Normal(0.0, c.lateral_std), key=lateral),
                ),
                (
                    ep.Dense.init(c.hidden, 2, ep.Normal(0.0, c.output_std), key=outer),
                    ep.LI(c.tau_mem, c.tau_syn),
                ),
            ]
        )
        return State(network, self._optimiser().init(_weights(network)), key, jnp.zeros((), jnp.int32))

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, draws = jax.random.split(state.key)
        state = State(state.network, state.optimiser, key, state.lost)
        state, outcomes = scan_state(self._step, state, jax.random.split(draws, self.config.steps))
        trained, validation = _summary(outcomes), self._judge(state.network, self.validation_set)
        return state, {
            "train_loss": trained.loss,
            "train_accuracy": trained.accuracy,
            "validation_loss": validation.loss,
            "validation_accuracy": validation.accuracy,
            "spikes_per_neuron": validation.spikes,
            "trials_lost": state.lost,
        }

    def finish(self, state: State) -> tuple[Metrics, ep.Recurrent, ep.RESULTS]:
        test = self._judge(state.network, self.test_set)
        lost = (state.lost + test.lost) > 0
        result = ep.RESULTS.where(lost, ep.RESULTS.spikes_lost, ep.RESULTS.successful)
        return {"test_accuracy": test.accuracy, "test_loss": test.loss}, state.network, result

    def simulate(self, network: ep.Recurrent, spikes: ep.Spikes, ts: Float[Array, " times"]) -> ep.Solution:
        """One trial, with the potentials at `ts`."""
        c = self.config
        if c.method == "eventprop":
            control = diffrax.PIDController(rtol=c.tolerance, atol=c.tolerance)
            solver = ep.Hybrid(c.tau_syn / 2, c.max_spikes, c.max_steps, c.max_events, stepsize_controller=control)
            adjoint = ep.EventProp(ep.ClipSlope(c.minimum_slope))
        else:
            solver = ep.Grid(c.dt, c.max_spikes)
            adjoint = ep.Surrogate(ep.SuperSpike(c.steepness))
        save = diffrax.SaveAt(ts=ts)
        return ep.simulate(network, spikes, self.duration, solver=solver, adjoint=adjoint, saveat=save, throw=False)

    def looks(self) -> Float[Array, " looks"]:
        """The moments at which the readouts are looked at."""
        return self.duration - self.config.response * jnp.arange(LOOKS - 1, -1, -1) / LOOKS

    def _step(self, state: State, key: PRNGKeyArray) -> tuple[State, Outcome]:
        trials = draw(self.config, key, self.config.batch_size)

        def loss(weights):
            outcome = self._outcomes(_with_weights(state.network, weights), trials)
            return outcome.loss, outcome

        weights = _weights(state.network)
        gradient, outcome = jax.grad(loss, has_aux=True)(weights)
        updates, optimiser = self._optimiser().update(gradient, state.optimiser, weights)
        network = _with_weights(state.network, eqx.apply_updates(weights, updates))
        return State(network, optimiser, state.key, state.lost + outcome.lost), outcome

    def _outcomes(self, network: ep.Recurrent, trials: Trials) -> Outcome:
        return _summary(jax.vmap(self._outcome, (None, 0, 0))(network, *trials))

    def _outcome(self, network: ep.Recurrent, spikes: ep.Spikes, label: Int[Array, ""]) -> Outcome:
        solution = self.simulate(network, spikes, self.looks())
        assert solution.ys is not None and solution.spikes[0] is not None  # asked for, and hidden neurons spike
        potentials = self.config.gain * jnp.mean(solution.ys[1], axis=0)
        accuracy = (jnp.argmax(potentials) == label).astype(potentials.dtype)
        loss = ep.voltage_cross_entropy(potentials, label)
        count = jnp.mean(solution.spikes[0].count(), dtype=loss.dtype)
        lost = (solution.result != ep.RESULTS.successful).astype(jnp.int32)
        return Outcome(loss, accuracy, count, lost)

    def _judge(self, network: ep.Recurrent, trials: Trials) -> Outcome:
        size = self.config.batch_size
        parts = jax.tree.map(lambda x: x[: x.shape[0] // size * size].reshape(-1, size, *x.shape[1:]), trials)
        return _summary(jax.lax.map(lambda part: self._outcomes(network, part), parts))

    def _optimiser(self) -> optax.GradientTransformation:
        c = self.config
        rate = optax.exponential_decay(c.learning_rate, c.steps, c.decay, staircase=True)
        return optax.chain(optax.clip_by_global_norm(c.gradient_clip), optax.adam(rate))


def draw(config: MatchToSample, key: PRNGKeyArray, trials: int) -> Trials:
    """Trials of random cues. The inputs of a cue's kind spike once each, uniformly distributed over its length."""
    kinds_key, times_key = jax.random.split(key)
    kinds = jax.random.bernoulli(kinds_key, 0.5, (trials, 2)).astype(jnp.int32)
    starts = jnp.array([0.0, config.cue + config.silence])
    within = jnp.sort(jax.random.uniform(times_key, (trials, 2, config.inputs)), axis=2)
    # In order of their times, the inputs of one cue are in random order.
    order = jax.random.permutation(
        jax.random.fold_in(times_key, 1),
        jnp.broadcast_to(jnp.arange(config.inputs, dtype=jnp.int32), within.shape),
        axis=2,
        independent=True,
    )
    times = starts[None, :, None] + config.cue * within
    index = kinds[:, :, None] * config.inputs + order
    spikes = ep.Spikes(times.reshape(trials, -1), index.reshape(trials, -1))
    return spikes, (kinds[:, 0] == kinds[:, 1]).astype(jnp.int32)


def _weights(network: ep.Recurrent) -> list[Array]:
    return [p.connection.weight for p in network.projections]


def _with_weights(network: ep.Recurrent, weights: list[Array]) -> ep.Recurrent:
    return eqx.tree_at(lambda n: [p.connection.weight for p in n.projections], network, weights)


def _summary(outcomes: Outcome) -> Outcome:
    """The mean over the first axis; lost trials are summed."""
    means = jax.tree.map(lambda x: jnp.mean(x, axis=0), outcomes)
    return eqx.tree_at(lambda o: o.lost, means, jnp.sum(outcomes.lost, axis=0, dtype=jnp.int32))


def match_to_sample(config: MatchToSample, key: PRNGKeyArray) -> tuple[Metrics, ep.Recurrent, ep.RESULTS]:
    """Train and judge one network."""
    return train(MatchToSampleTraining(config), key)
