"""A chaotic series, learned online and then continued by the network on its own (Ellenberger et al. 2024, Fig. 10)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
from benchmarks.datasets import mackey_glass
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics, Training, averaged, outcome, scan_state, train
from gle import RESULTS

DT = 0.2
WARM_UP = 500
"""Steps in which a network follows the true series before it goes on alone; its own memory is 10 steps."""
EARLY = 0.1
"""Part of the epochs after which continuations are kept."""


@dataclasses.dataclass(frozen=True)
class MackeyGlass:
    """Mackey-Glass series, learned and continued.

    Each is continued for ten Lyapunov times. One seed is one network for each of the sequences. The paper tells neither
    time constants nor optimiser; these are tuned on sequences of another initial history (`--initial 1.1`). Not as
    published: a network learns from 20 parts of the first half of its sequence side by side, 1500 times instead of 150
    (which are half as many updates), with a little noise on its inputs; what is judged is an average over the last
    passes; and steps are Euler's, not Runge and Kutta's.
    """

    sequences: int = 30
    length: float = 20.0
    """Of a sequence, in Lyapunov times; the first half is for learning."""
    initial: float = 0.7206597
    """The constant past of the series; the default is that of NeuroBench, whose sequences are for reporting only."""
    hidden: tuple[int, int] = (93, 93)
    retrospective: float = 0.2
    """Fraction of the hidden neurons that lag: tau_m = `tau_slow`, tau_r = `tau_fast`. Of the others both are fast."""
    tau_slow: float = 2.0
    tau_fast: float = 1.0
    delay: float = 6.0
    """The network sees x at 0, 1, 2 and 3 delays ago..."""
    ahead: int = 1
    """... and predicts it so many time steps of 0.2 ahead."""
    streams: int = 20
    """Parts of the first half that are learned side by side. One stream is tracked rather than learned."""
    passes: int = 25
    """How often an epoch goes through them. After every epoch the series are continued."""
    epochs: int = 60
    learning_rate: float = 3e-3
    """Adam's, at the start, per time step."""
    decay: float = 1e-3
    """What is left of it at the end, to which it falls exponentially."""
    averaging: float = 0.9
    """What the averaged network keeps of itself at every pass."""
    noise: float = 1e-3
    """Standard deviation of the noise, new at every step, on the inputs that are learned from: a network that continues
    a series has to live with errors of its own."""


class Continuations(eqx.Module):
    """What the figure shows: what networks make of the sequences."""

    early: Float[Array, "... sequences steps"]
    """After `early_epoch`."""
    last: Float[Array, "... sequences steps"]
    truth: Float[Array, "... sequences steps"]


def early_epoch(config: MackeyGlass) -> int:
    """Number, from 1, of the epoch whose continuations are kept, to be shown beside the last ones (Fig. 10b, c)."""
    return max(1, round(EARLY * config.epochs))


class State(eqx.Module):
    """What changes in training, with a leading axis of sequences; `average` is judged, `best`: lowest sMAPE so far."""

    learner: gle.Learner
    average: gle.Network
    best: Float[Array, " sequences"]
    continued: Continuations
    key: PRNGKeyArray
    result: gle.RESULTS


class MackeyGlassTraining(Training):
    """The training problem of a configuration, whose float fields may be traced, but for those of the series."""

    epochs: int
    steps_per_epoch: int
    config: MackeyGlass
    learned: Float[Array, "sequences steps"]
    continued: Float[Array, "sequences steps"]

    def __init__(self, config: MackeyGlass, series: Float[np.ndarray, "sequences steps"] | None = None):
        if series is None:
            series = mackey_glass.sequences(config.sequences, config.length, dt=DT, initial=config.initial)
        half = series.shape[1] // 2
        self.config, self.epochs = config, config.epochs
        self.learned, self.continued = jnp.asarray(series[:, :half], float), jnp.asarray(series[:, half:], float)
        samples = half - max(self.delays) - config.ahead
        if not 1 <= config.streams <= samples:
            raise InvalidInput(f"streams must be 1..{samples}, the samples to learn from, but is {config.streams}.")
        self.steps_per_epoch = config.passes * (samples // config.streams)

    @property
    def delays(self) -> tuple[int, ...]:
        """Of the four inputs, in steps."""
        return tuple(number * round(self.config.delay / DT) for number in range(4))

    def init(self, key: PRNGKeyArray) -> State:
        def one(key):
            return gle.start(build(self.config, key), self._optimiser(), batch=(self.config.streams,))

        count = self.learned.shape[0]
        learners = eqx.filter_vmap(one)(jax.random.split(key, count))
        nothing = jnp.zeros_like(self.continued)
        shown = Continuations(nothing, nothing, self.continued)
        return State(learners, learners.network, jnp.full(count, jnp.inf), shown, key, gle.RESULTS.successful)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        keys = jax.random.split(jax.random.fold_in(state.key, number), len(self.learned))
        members = state.learner, state.average, self.learned, keys
        learner, average, costs, results = eqx.filter_vmap(self._learn)(*members)
        last = eqx.filter_vmap(self.predict)(average, self.learned)
        early = jnp.where(number == early_epoch(self.config) - 1, last, state.continued.early)
        errors, shown = smape(last, self.continued), Continuations(early, last, self.continued)
        worst = outcome(state.result, results)
        state = State(learner, average, jnp.minimum(state.best, errors), shown, state.key, worst)
        return state, {"train_loss": jnp.mean(costs), "smape": jnp.mean(errors)}

    def finish(self, state: State) -> tuple[Metrics, gle.Network, RESULTS, Continuations]:
        return {"oracle_smape": jnp.mean(state.best)}, state.average, outcome(state.result), state.continued

    def _learn(self, learner: gle.Learner, average: gle.Network, series: Float[Array, " steps"], key: PRNGKeyArray):
        inputs, targets = self._streams(series)

        def one_pass(networks, key):
            learner, average = networks
            learner = gle.settle(learner, inputs[0], targets[0])
            noisy = inputs + self.config.noise * jax.random.normal(key, inputs.shape)
            learner, outputs, result = gle.online(
                learner, noisy, targets, dt=DT, optimiser=self._optimiser(), throw=False
            )
            average = averaged(average, learner.network, self.config.averaging)
            return (learner, average), (jnp.mean(0.5 * (outputs - targets) ** 2), result)

        keys = jax.random.split(key, self.config.passes)
        networks, (costs, results) = scan_state(one_pass, (learner, average), keys)
        return *networks, costs, results

    def predict(self, network: gle.Network, series: Float[Array, " steps"]) -> Float[Array, " steps"]:
        """What follows a series of true values in the eyes of a network, as far as `continued` goes."""
        ahead, past = self.config.ahead, series[:, None]
        inputs = gle.delayed(past[-max(self.delays) - WARM_UP :], self.delays)
        learner = gle.settle(gle.start(network.frozen()), inputs[0])
        learner, outputs, _ = gle.online(learner, inputs, dt=DT, throw=False)
        past, steps = jnp.concatenate([past, outputs[-ahead:]]), self.continued.shape[1] - ahead
        _, more, _ = gle.autoregress(learner, past, steps, delays=self.delays, ahead=ahead, dt=DT, throw=False)
        return jnp.concatenate([outputs[-ahead:], more])[:, 0]

    def _streams(
        self, series: Float[Array, " steps"]
    ) -> tuple[Float[Array, "time streams 4"], Float[Array, "time streams 1"]]:
        """Inputs and targets: consecutive parts of the series side by side; what does not fit is left out at first."""
        count, ahead = self.config.streams, self.config.ahead
        inputs, targets = gle.delayed(series[:-ahead, None], self.delays), series[max(self.delays) + ahead :, None]
        steps = len(inputs) // count

        def parts(x):
            return x[-steps * count :].reshape(count, steps, -1).swapaxes(0, 1)

        return parts(inputs), parts(targets)

    def _optimiser(self) -> optax.GradientTransformation:
        rate = optax.exponential_decay(self.config.learning_rate, self.epochs * self.steps_per_epoch, self.config.decay)
        return gle.weights_only(optax.adam(rate))


def build(config: MackeyGlass, key: PRNGKeyArray) -> gle.Network:
    """Four inputs, two hidden layers of unit gain, one linear output without lag that is silent at first."""
    layers, sources = [], 4
    for neurons, layer_key in zip(config.hidden, jax.random.split(key, len(config.hidden)), strict=True):
        weight_key, bias_key = jax.random.split(layer_key)
        weights = jax.random.normal(weight_key, (neurons, sources)) / np.sqrt(sources)
        connection = gle.Dense(weights, 0.5 * jax.random.normal(bias_key, (neurons,)))
        lags = jnp.arange(neurons) < round(config.retrospective * neurons)
        layers.append(
            gle.Layer(connection, jnp.where(lags, config.tau_slow, config.tau_fast), config.tau_fast, jnp.tanh)
        )
        sources = neurons
    output = gle.Dense(jnp.zeros((1, sources)), jnp.zeros(1))
    layers.append(gle.Layer(output, config.tau_fast, config.tau_fast, gle.linear))
    return gle.Network(layers, gle.MeanSquaredError())


def smape(prediction: Float[Array, "... steps"], truth: Float[Array, "... steps"]) -> Float[Array, "..."]:
    """Symmetric mean absolute percentage error, 200 mean |p - y| / (|p| + |y|); what is not finite counts 200."""
    ratio = jnp.abs(prediction - truth) / (jnp.abs(prediction) + jnp.abs(truth))
    return 200 * jnp.mean(jnp.where(jnp.isfinite(ratio), ratio, 1.0), axis=-1)


def gle_mackey_glass(config: MackeyGlass, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS]:
    """Train and judge the networks of one seed."""
    return train(MackeyGlassTraining(config), key)
