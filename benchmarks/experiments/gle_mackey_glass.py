"""A chaotic series, learned online and then continued by the network on its own (Ellenberger et al. 2024, Fig. 10)."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import gle
from benchmarks.datasets import mackey_glass
from benchmarks.experiment import Experiment, Published
from benchmarks.training import Metrics, Training, outcome, train
from eventprop import RESULTS

DT = 0.2
STEPPER = gle.Step(gle.RK4())


@dataclasses.dataclass(frozen=True)
class MackeyGlass:
    """Mackey-Glass series, learned and continued.

    Each is continued for ten Lyapunov times. One seed is one network for each of the sequences. The paper tells neither
    time constants nor optimiser: tune them on sequences of other initial histories (`--initial`).
    """

    sequences: int = 30
    length: float = 20.0
    """Of a sequence, in Lyapunov times; the first half is for learning."""
    initial: float = 0.7206597
    """The constant past of the series; the default is that of NeuroBench, whose sequences are for reporting only."""
    hidden: tuple[int, int] = (93, 93)
    retrospective: float = 0.5
    """Fraction of the hidden neurons that lag: tau_m = `tau_slow`, tau_r = `tau_fast`. Of the others both are fast."""
    tau_slow: float = 4.0
    tau_fast: float = 1.0
    delay: float = 6.0
    """The network sees x at 0, 1, 2 and 3 delays ago..."""
    ahead: int = 5
    """... and predicts it so many time steps of 0.2 ahead."""
    epochs: int = 150
    learning_rate: float = 5e-5
    """Adam's, at the start, per time step; it falls to zero along a cosine."""


class State(eqx.Module):
    """What changes in training, with a leading axis of sequences; `best`: lowest sMAPE so far."""

    learner: gle.Learner
    best: Float[Array, " sequences"]
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
        self.steps_per_epoch = half - max(self.delays) - config.ahead

    @property
    def delays(self) -> tuple[int, ...]:
        """Of the four inputs, in steps."""
        return tuple(number * round(self.config.delay / DT) for number in range(4))

    def init(self, key: PRNGKeyArray) -> State:
        def one(key):
            return gle.start(build(self.config, key), self._optimiser(), stepper=STEPPER)

        count = self.learned.shape[0]
        learners = eqx.filter_vmap(one)(jax.random.split(key, count))
        return State(learners, jnp.full(count, jnp.inf), gle.RESULTS.successful)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        learner, costs, results = eqx.filter_vmap(self._learn)(state.learner, self.learned)
        predictions = eqx.filter_vmap(self.predict)(learner, self.learned)
        errors = smape(predictions, self.continued)
        worst = gle.RESULTS.where(jnp.all(results == gle.RESULTS.successful), state.result, gle.RESULTS.non_finite)
        state = State(learner, jnp.minimum(state.best, errors), worst)
        return state, {"train_loss": jnp.mean(costs), "smape": jnp.mean(errors)}

    def finish(self, state: State) -> tuple[Metrics, gle.Network, RESULTS]:
        return {"oracle_smape": jnp.mean(state.best)}, state.learner.network, outcome(state.result)

    def _learn(self, learner: gle.Learner, series: Float[Array, " steps"]):
        inputs, targets = self._stream(series)
        learner = gle.settle(learner, inputs[0], targets[0], stepper=STEPPER)
        learner, outputs, result = gle.online(
            learner, inputs, targets, dt=DT, optimiser=self._optimiser(), stepper=STEPPER, throw=False
        )
        return learner, jnp.mean(0.5 * (outputs - targets) ** 2), result

    def predict(self, learner: gle.Learner, series: Float[Array, " steps"]) -> Float[Array, " steps"]:
        """What follows the series that the learner has just seen, as far as `continued` goes."""
        ahead = self.config.ahead
        learner = gle.Learner(learner.network.frozen(), learner.state, None)
        # Learning ended where the last target did; from there to the end of the series the inputs are still known.
        inputs = gle.delayed(series[:, None], self.delays)[-ahead:]
        learner, outputs, _ = gle.online(learner, inputs, dt=DT, stepper=STEPPER, throw=False)
        past = jnp.concatenate([series[:, None], outputs])
        steps = self.continued.shape[1] - ahead
        _, more, _ = gle.autoregress(
            learner, past, steps, delays=self.delays, ahead=ahead, dt=DT, stepper=STEPPER, throw=False
        )
        return jnp.concatenate([outputs, more])[:, 0]

    def _stream(self, series: Float[Array, " steps"]) -> tuple[Float[Array, "time 4"], Float[Array, "time 1"]]:
        ahead = self.config.ahead
        return gle.delayed(series[:-ahead, None], self.delays), series[max(self.delays) + ahead :, None]

    def _optimiser(self) -> optax.GradientTransformation:
        rate = optax.cosine_decay_schedule(self.config.learning_rate, self.epochs * self.steps_per_epoch)
        return gle.weights_only(optax.adam(rate))


def build(config: MackeyGlass, key: PRNGKeyArray) -> gle.Network:
    """Four inputs, two hidden layers, one linear output without lag."""
    layers, sources = [], 4
    keys = jax.random.split(key, len(config.hidden) + 1)
    for neurons, layer_key in zip(config.hidden, keys, strict=False):
        lags = jnp.arange(neurons) < round(config.retrospective * neurons)
        tau_m = jnp.where(lags, config.tau_slow, config.tau_fast)
        layers.append(gle.Layer(gle.Dense.init(sources, neurons, key=layer_key), tau_m, config.tau_fast, jnp.tanh))
        sources = neurons
    output = gle.Dense.init(sources, 1, key=keys[-1])
    layers.append(gle.Layer(output, config.tau_fast, config.tau_fast, gle.linear))
    return gle.Network(layers, gle.MeanSquaredError())


def smape(prediction: Float[Array, "... steps"], truth: Float[Array, "... steps"]) -> Float[Array, "..."]:
    """Symmetric mean absolute percentage error, 200 mean |p - y| / (|p| + |y|); what is not finite counts 200."""
    ratio = jnp.abs(prediction - truth) / (jnp.abs(prediction) + jnp.abs(truth))
    return 200 * jnp.mean(jnp.where(jnp.isfinite(ratio), ratio, 1.0), axis=-1)


def gle_mackey_glass(config: MackeyGlass, key: PRNGKeyArray) -> tuple[Metrics, gle.Network, RESULTS]:
    """Train and judge the networks of one seed."""
    return train(MackeyGlassTraining(config), key)


def draw(config: MackeyGlass, fit: Any, directory: Any) -> None:
    """The run's figure."""
    from benchmarks.experiments.gle_mackey_glass_figures import draw_continuation  # matplotlib only where needed

    draw_continuation(MackeyGlassTraining(config), fit, directory)


MACKEY_GLASS = Experiment(
    name="gle-mackey-glass",
    config=MackeyGlass,
    function=gle_mackey_glass,
    training=MackeyGlassTraining,
    figures=draw,
    published=(
        Published("smape", 14.25, source="Ellenberger et al. 2024, Fig. 10d, last epoch", higher_is_better=False),
        Published("oracle_smape", 9.25, source="Ellenberger et al. 2024, Fig. 10d, best epoch", higher_is_better=False),
    ),
)
