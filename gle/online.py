"""Learning while the network runs: an optimiser step at every time step, inside one scan."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, PyTree

from gle.network import Network, Signals
from gle.results import RESULTS, all_finite
from gle.steppers import AbstractStepper, Step


class Learner(NamedTuple):
    """A network in the middle of a stream. Pass the last one to `online` again to go on to the same result."""

    network: Network
    state: Any
    optimiser: optax.OptState | None


def start(
    network: Network,
    optimiser: optax.GradientTransformation | None = None,
    *,
    stepper: AbstractStepper = Step(),
    batch: tuple[int, ...] = (),
) -> Learner:
    """A network at rest, before its first input, with one stream for each element of the `batch` axes."""
    memory = None if optimiser is None else optimiser.init(eqx.filter(network, eqx.is_inexact_array))
    return Learner(network, stepper.init(network, network.init(batch, network.layers[0].tau_m.dtype)), memory)


def settle(
    learner: Learner,
    input: Float[Array, "*batch sources"],
    target: Float[Array, "*batch outputs"] | None = None,
    *,
    stepper: AbstractStepper = Step(),
) -> Learner:
    """The learner at rest under a constant input and target, as if they had been there for ever.

    Between unrelated streams this spares the errors the jump of the target, which every layer would differentiate.
    """
    network, _, memory = learner
    return Learner(network, stepper.init(network, network.equilibrium(input, target)), memory)


def output_potentials(network: Network, signals: Signals) -> Float[Array, "*batch outputs"]:
    """The prospective potentials of the output neurons: with softmax outputs the logits."""
    return signals.potential[-1]


@eqx.filter_jit
def online(
    learner: Learner,
    inputs: Float[Array, "time *batch sources"],
    targets: Float[Array, "time *batch outputs"] | None = None,
    *,
    dt: float | Float[Array, ""],
    optimiser: optax.GradientTransformation | None = None,
    stepper: AbstractStepper = Step(),
    observe: Callable[[Network, Signals], PyTree] = output_potentials,
    throw: bool = True,
) -> tuple[Learner, PyTree, RESULTS]:
    """Run a network on a stream, and let it learn at every step.

    - `inputs`, `targets`: one entry per time step, constant over the step. Without targets there are no errors.
    - `optimiser`: any optax transformation of the gradients dE/dtheta (Eqs. 21-24). It is given `pre`, `post` and
        `error` of every layer as extra arguments. None: nothing is learned.
    - `stepper`: `Step(solver)` with a fixed-step diffrax solver, or `Algorithm1()`.
    - `observe`: what to keep of each step.
    - `throw`: raise for NaN in the stream, a dt above the stability limit and a network that diverges; with False the
        caller has to look at the result.

    Returns the learner after the stream, the observations [time, ...] and a result.
    """
    result = examine(learner.network, stepper, (inputs, targets), dt)
    if throw:
        inputs = result.error_if(inputs, result != RESULTS.successful)
    update = None if optimiser is None else optax.with_extra_args_support(optimiser).update
    dynamic, static = eqx.partition(learner, eqx.is_array)

    def step(dynamic, stream):
        network, state, memory = eqx.combine(dynamic, static)
        input, target = stream
        state, signals = stepper.step(network, state, input, target, dt)
        observed = observe(network, signals)
        if update is not None:
            parameters = eqx.filter(network, eqx.is_inexact_array)
            extra = {"pre": signals.below, "post": signals.rate, "error": signals.error}
            gradients = stepper.gradient(network, state, signals)
            updates, memory = update(gradients, memory, parameters, **extra)
            network = eqx.apply_updates(network, updates)
        return eqx.filter(Learner(network, state, memory), eqx.is_array), observed

    dynamic, observed = lax.scan(step, dynamic, (inputs, targets))
    finite = all_finite(dynamic) | (result != RESULTS.successful)
    result = RESULTS.where(finite, result, RESULTS.non_finite)
    if throw:
        numbers, others = eqx.partition(dynamic, eqx.is_inexact_array)  # error_if knows nothing of typed keys
        dynamic = eqx.combine(result.error_if(numbers, result != RESULTS.successful), others)
    return eqx.combine(dynamic, static), observed, result


def examine(network: Network, stepper: AbstractStepper, stream: PyTree, dt: float | Float[Array, ""]) -> RESULTS:
    """What is wrong with a stream or its time step, before anything is run on it."""
    result = RESULTS.where(all_finite(stream), RESULTS.successful, RESULTS.invalid_input)
    return RESULTS.where(jnp.asarray(dt) <= largest_step(network, stepper), result, RESULTS.unstable_step)


def largest_step(network: Network, stepper: AbstractStepper = Step()) -> Float[Array, ""]:
    """The largest stable dt: the limit of the solver for the fastest leaky integrator, membrane or error neuron."""
    taus = [jnp.min(layer.tau_m) for layer in network.layers]
    taus += [jnp.min(layer.tau_r) for layer in network.layers[network.lowest :]]
    return stepper.limit() * jnp.min(jnp.stack(taus))
