"""One cell per layer mimics a teacher (Max et al. 2024, Fig. 4a, b), reduced."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

import gle
from benchmarks.experiments.gle.five_ways import METHODS, State, through
from benchmarks.experiments.gle.pal.circuits import Rates, begin, circuit, dream, rules, teach
from benchmarks.training import Metrics, Training, train
from gle import RESULTS

TEACHER = 2.0


@dataclasses.dataclass(frozen=True)
class Teacher(Rates):
    """One cell per layer mimics a teacher, five feedbacks.

    The teacher's weights are 2, all initial W and B are drawn uniformly between -1 and 0. A batch of inputs, uniform
    between 0 and 1, stands for as many moments.
    """

    epochs: int = 60
    batches: int = 100
    """Per epoch."""
    lower_rate: float = 50.0
    upper_rate: float = 1.0
    pal_decay: float = 1.6e-6
    """With which B tends to 2."""


class TeacherTraining(Training):
    """The problem of a configuration."""

    epochs: int
    steps_per_epoch: int
    config: Teacher

    def __init__(self, config: Teacher):
        self.config, self.epochs, self.steps_per_epoch = config, config.epochs, config.batches

    def init(self, key: PRNGKeyArray) -> State:
        key, *keys = jax.random.split(key, 4)
        lower, upper, back = (jax.random.uniform(k, (1, 1), minval=-1.0, maxval=0.0) for k in keys)
        learners = {name: begin(circuit(name, [lower, upper], [back]), name, self.config) for name in METHODS}
        return State(learners, key, RESULTS.successful)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        key, draw, noise, twin = jax.random.split(state.key, 4)
        inputs = jax.random.uniform(draw, (self.config.batches, self.config.batch_size, 1))
        keys = jax.random.split(noise, self.config.batches)
        weight = jnp.full((1, 1), TEACHER)
        teacher = circuit("bp", [weight, weight], [weight])

        def learn(name: str) -> Any:
            rule = rules(name, self.config)

            def step(learner, x, key):
                target = teacher.equilibrium(x, throw=False).pyramidal[-1]
                return teach(learner, rule, self.config, x, target, key)

            return step

        return through(state, key, (inputs, keys), lambda x: dream(x, self.config, twin), learn, measured)

    def finish(self, state: State) -> tuple[Metrics, dict[str, gle.Microcircuit], RESULTS]:
        return {}, {name: learner.network for name, learner in state.learners.items()}, state.result


def measured(name: str, network: gle.Microcircuit) -> Metrics:
    """The weights of a student, and how far those of the ways up are from the teacher's."""
    lower, upper = (connection.weight[0, 0] for connection in network.up)
    back: Any = network.feedback[0]
    b = upper if isinstance(back, gle.Transpose) else back.connection.weight[0, 0]
    error = jnp.maximum(jnp.abs(lower - TEACHER), jnp.abs(upper - TEACHER))
    return {f"lower_{name}": lower, f"upper_{name}": upper, f"back_{name}": b, f"error_{name}": error}


def teacher_student(config: Teacher, key: PRNGKeyArray) -> tuple[Metrics, dict[str, gle.Microcircuit], RESULTS]:
    """Train one student per method."""
    return train(TeacherTraining(config), key)
