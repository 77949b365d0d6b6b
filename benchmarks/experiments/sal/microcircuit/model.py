"""A spiking microcircuit mimics a teacher, with errors sent back by three rules (Gierlich et al., Fig. 6)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

import sal
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics, Training, train
from sal import RESULTS

METHODS = ("sal", "bp", "fa")
"""Side by side, with the same initial weights and the same random numbers."""
TEACHER = (2.0, 2.0)
BIAS = (-1.0, -1.0)
TAU_REF, DT = 10.0, 1.0
"""In ms."""
TRAINING = np.linspace(-3, 3, 9)
VALIDATION = np.array([-2.7, -1.8, -0.5, 0.5, 1.8, 2.7])
CLOSE = 0.3
"""Weights this close to the teacher's have been found."""
CHUNK = 100.0
"""Time between two updates of B in a SAL phase, in ms. (Forward weights learn at every step.)"""


@dataclasses.dataclass(frozen=True)
class MicrocircuitTask:
    """A spiking microcircuit learns by SAL, BP and FA.

    One cell per layer. The outputs of the teacher, which are the targets, and those of the students, by which they are
    judged, are those of the exact Markov chain, in which apical dendrites are silent: no time is spent on validation.
    """

    epochs: int = 150
    presentation: float = 20_000.0
    """How long an input is shown, in ms."""
    average: float = 2000.0
    """Of the moving averages, and how long nothing is learned after each new input, in ms."""
    inputs: int = 20
    """Per epoch."""
    sal_inputs: int = 5
    """Of the SAL phase of an epoch."""
    lower_rate: float = 0.2
    """eta of W_10, per spike and spikes per ms."""
    upper_rate: float = 0.003
    """eta of W_21."""
    sal_rate: float = 0.001
    """eta of B, per coincident pair of spikes."""
    largest: float = 3.0
    """Initial weights are drawn uniformly between minus this and this."""


Weights = Float[Array, "3"]
"""W_10, W_21 and B of a student."""


def teacher_outputs(
    inputs: Float[Array, " inputs"],
    weights: Float[Array, "2"] | tuple[float, float] = TEACHER,
    biases: tuple[float, float] = BIAS,
    steps: int = 10,
) -> Float[Array, " inputs"]:
    """Mean membrane potentials of the output at constant inputs, exactly, without apical dendrites.

    By the Markov chain of how many steps ago input and hidden cell fired, which all above `steps` is one state.
    """
    age = np.arange(steps + 1)
    active, ready = age < steps, age >= steps - 1

    def moves(chance: Float[Array, " ages"]) -> Float[Array, "to ages"]:
        fires = jnp.where(ready, chance, 0.0)
        older = jnp.zeros((steps + 1, steps + 1)).at[jnp.minimum(age + 1, steps), age].add(1 - fires)
        return older.at[0].add(fires)

    def one(u: Array) -> Array:
        first = moves(jnp.full(steps + 1, jax.nn.sigmoid(u - np.log(steps))))
        second = jax.vmap(lambda on: moves(jnp.full(steps + 1, _chance(biases[0] + weights[0] * on, steps))))(
            active.astype(float)
        )
        # [to in, to hidden, from in, from hidden]: both cells see the ages of the step before.
        joint = first[:, None, :, None] * jnp.transpose(second, (1, 0, 2))[None]
        states = (steps + 1) ** 2
        flow = joint.reshape(states, states) - jnp.eye(states)
        occupied = jnp.linalg.solve(flow.at[-1].set(1.0), jnp.zeros(states).at[-1].set(1.0))
        return biases[1] + weights[1] * jnp.sum(occupied.reshape(steps + 1, -1)[:, active])

    return jax.vmap(one)(jnp.asarray(inputs))


def _chance(u: Array, steps: int) -> Array:
    return jax.nn.sigmoid(u - np.log(steps))


def build(config: MicrocircuitTask, weights: Weights, target: Float[Array, ""] | None) -> sal.Microcircuit:
    """A student, taught by `target`."""
    lower, upper, back = (w[None, None] for w in weights)
    teach = None if target is None else target[None]
    return sal.Microcircuit([lower, upper], [back], BIAS, TAU_REF, average=config.average, target=teach)


class State(eqx.Module):
    """What changes: the weights of the students, [methods, 3], and whether their potentials were numbers."""

    weights: Float[Array, "methods 3"]
    result: RESULTS
    key: PRNGKeyArray


class MicrocircuitTraining(Training):
    """The problem of a configuration, whose float fields but for times may be traced."""

    epochs: int
    steps_per_epoch: int
    config: MicrocircuitTask

    def __init__(self, config: MicrocircuitTask):
        if not config.presentation > 0 or config.presentation % CHUNK:
            raise InvalidInput(f"presentation must be a positive multiple of {CHUNK} ms, got {config.presentation}.")
        if not config.average < config.presentation:
            raise InvalidInput(
                f"average must be shorter than presentation = {config.presentation}, got {config.average}: nothing is "
                "learned before the averages have seen the input."
            )
        self.config, self.epochs = config, config.epochs
        self.steps_per_epoch = round((config.inputs + config.sal_inputs) * config.presentation / DT)

    def init(self, key: PRNGKeyArray) -> State:
        draw, key = jax.random.split(key)
        weights = jax.random.uniform(draw, (3,), minval=-self.config.largest, maxval=self.config.largest)
        return State(self._copied(jnp.broadcast_to(weights, (len(METHODS), 3))), RESULTS.successful, key)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        wake, asleep, inputs = jax.random.split(jax.random.fold_in(state.key, number), 3)
        chosen = jax.random.choice(inputs, TRAINING, (self.config.inputs + self.config.sal_inputs,))
        taught, rest = chosen[: self.config.inputs], chosen[self.config.inputs :]
        weights, finite = self._learn(state.weights, taught, wake)
        weights = weights.at[METHODS.index("sal"), 2].set(self._align(weights[METHODS.index("sal")], rest, asleep))
        result = RESULTS.where(finite, state.result, RESULTS.non_finite)
        return State(weights, result, state.key), self._judge(weights)

    def _copied(self, weights: Float[Array, "methods 3"]) -> Float[Array, "methods 3"]:
        """Backpropagation: B is W_21."""
        return weights.at[METHODS.index("bp"), 2].set(weights[METHODS.index("bp"), 1])

    def _learn(self, weights: Array, inputs: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
        """All methods through the inputs of an epoch, from silence; new weights, whether potentials were finite."""
        targets = teacher_outputs(inputs)
        copies = jnp.array([method == "bp" for method in METHODS])
        weights, finite = jax.vmap(lambda w, c: self._student(w, c, inputs, targets, key))(weights, copies)
        return weights, jnp.all(finite)

    def _student(self, weights: Weights, copies: Array, inputs: Array, targets: Array, key: PRNGKeyArray):
        config = self.config
        rates = jnp.stack([jnp.asarray(config.lower_rate, float), jnp.asarray(config.upper_rate, float)])

        def show(carry, shown):
            def step(carry, time):
                weights, state, finite = carry
                circuit = build(config, weights, shown[1])
                drive = jnp.zeros(circuit.neurons).at[0].set(shown[0])
                state, moment = circuit.step(state, drive, None, DT, jax.random.fold_in(key, state.step))
                slopes = circuit.plasticity(sal.Raster(moment.spikes[None], DT), moment.compartments.error[None])
                change = -rates * jnp.concatenate([slope[0] for slope in slopes.forward])
                weights = weights.at[:2].add(jnp.where(time >= config.average, change, 0))
                weights = weights.at[2].set(jnp.where(copies, weights[1], weights[2]))
                return (weights, state, finite & jnp.all(jnp.isfinite(moment.potential))), None

            return jax.lax.scan(step, carry, jnp.arange(0, config.presentation, DT))

        start = weights, build(config, weights, targets[0]).init(DT), jnp.array(True)
        (weights, _, finite), _ = jax.lax.scan(show, start, (inputs, targets))
        return weights, finite

    def _align(self, weights: Weights, inputs: Array, key: PRNGKeyArray) -> Float[Array, ""]:
        """B after a SAL phase."""
        config, window = self.config, sal.Exponential(TAU_REF)
        # No averages are needed here.
        short = dataclasses.replace(config, average=TAU_REF)
        chunks = round(config.presentation / CHUNK)
        rule = sal.align(config.sal_rate, sal.STDP(window, window, TAU_REF, sal.NearestPairs()), dt=DT, transposed=True)

        def chunk(carry, place):
            back, state, memory = carry
            circuit = build(short, weights.at[2].set(back[0, 0]), None).aligning()
            drive = jnp.zeros(4).at[0].set(inputs[place // chunks])
            run = sal.simulate(circuit, CHUNK, dt=DT, key=key, state=state, drive=drive, throw=False)
            signals = circuit.signals(run.spikes)
            pre, post = (signals[name].backward[0] for name in ("pre", "post"))
            update, memory = rule.update(jnp.zeros_like(back), memory, pre=pre, post=post)
            return (back + update, run.state, memory), None

        back = weights[2][None, None]
        carry = back, build(short, weights, None).init(DT), rule.init(back)
        (back, _, _), _ = jax.lax.scan(chunk, carry, jnp.arange(chunks * len(inputs)))
        return back[0, 0]

    def _judge(self, weights: Float[Array, "methods 3"]) -> Metrics:
        """Weights, and the mean squared error of the output on the validation inputs."""
        inputs = jnp.asarray(VALIDATION)
        wanted = teacher_outputs(inputs)
        losses = jax.vmap(lambda w: jnp.mean((teacher_outputs(inputs, w[:2]) - wanted) ** 2))(weights)
        metrics = {}
        for method, w, loss in zip(METHODS, weights, losses, strict=True):
            found = jnp.all(jnp.abs(w[:2] - jnp.array(TEACHER)) < CLOSE)
            metrics |= {f"w10_{method}": w[0], f"w21_{method}": w[1], f"b_{method}": w[2]}
            metrics |= {f"validation_loss_{method}": loss, f"found_{method}": found.astype(float)}
        return metrics

    def finish(self, state: State) -> tuple[Metrics, Array, RESULTS]:
        return {}, state.weights, state.result


def microcircuit(config: MicrocircuitTask, key: PRNGKeyArray) -> tuple[Metrics, Array, RESULTS]:
    """Train one student per method."""
    return train(MicrocircuitTraining(config), key)
