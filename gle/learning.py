"""Learning while the network runs: an optimiser step at every time step, inside one scan."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Num, PyTree

from gle.arrays import as_float, as_time_step, split_numbers, strongly_typed, vary_alike, without
from gle.results import RESULTS, all_finite, raise_if
from gle.steppers import AbstractStepper, Step
from gle.streams import check_stream
from gle.system import AbstractSystem, Moment, dtype_of


class Learner(NamedTuple):
    """A network, or another `AbstractSystem`, in the middle of a stream.

    Pass the last one to `online` again to go on to the same result.
    """

    network: Any
    state: Any
    optimiser: optax.OptState | None


def start(
    network: AbstractSystem,
    optimiser: optax.GradientTransformation | None = None,
    *,
    stepper: AbstractStepper = Step(),
    batch: tuple[int, ...] = (),
) -> Learner:
    """A network at rest, before its first input, with one stream for each element of the `batch` axes."""
    if not isinstance(batch, tuple | list) or any(size < 1 for size in batch):
        raise ValueError(f"batch must be a tuple of sizes, each at least 1, such as (32,), but is {batch}.")
    if not isinstance(stepper, AbstractStepper):
        raise ValueError(f"stepper must be an AbstractStepper such as Step(), but is {stepper!r}.")
    memory = None if optimiser is None else optimiser.init(eqx.filter(network, eqx.is_inexact_array))
    return Learner(network, stepper.init(network, network.init(batch, dtype_of(network))), memory)


def _check_learner(learner: Any) -> None:
    if not isinstance(learner, Learner):
        kind = type(learner).__name__
        raise ValueError(f"learner must be a Learner, but is a {kind}: gle.start(network, optimiser) makes one.")


def settle(
    learner: Learner,
    input: Num[Array | np.ndarray, "*batch sources"],
    target: Num[Array | np.ndarray, "*batch outputs"] | None = None,
    *,
    stepper: AbstractStepper = Step(),
    throw: bool = True,
) -> Learner:
    """The learner at rest under a constant input and target, as if they had been there for ever.

    Between unrelated streams this spares the errors the jump of the target, which every layer would differentiate.
    Where the input or target is NaN or infinite, or rates and errors have no common solution (see `Coupled`), raises;
    with throw=False the state is NaN, of which `online` tells in its result.
    """
    _check_learner(learner)
    network, _, memory = learner
    moment = strongly_typed((as_float("input", input), as_float("target", target)))
    rest = _at_rest(*split_numbers(network), moment, throw)
    return Learner(network, stepper.init(network, rest), memory)


@eqx.filter_jit
def _at_rest(numbers: PyTree, rest: AbstractSystem, moment: PyTree, throw: bool) -> PyTree:
    numbers, rest, moment = vary_alike((numbers, rest, moment))
    network = eqx.combine(numbers, rest)
    state = network.equilibrium(*moment, throw=False)
    if throw:
        unsolved = RESULTS.no_solution if network.implicit else RESULTS.no_equilibrium
        reason = RESULTS.where(all_finite(moment), unsolved, RESULTS.invalid_input)
        state = raise_if(state, ~all_finite((moment, state)), reason)
    return state


def output_potentials(network: AbstractSystem, signals: Moment) -> Float[Array, "*batch outputs"]:
    """The prospective potentials of the output neurons: with softmax outputs the logits."""
    return signals.output


def online(
    learner: Learner,
    inputs: Num[Array | np.ndarray, "time *batch sources"],
    targets: Num[Array | np.ndarray, "time *batch outputs"] | None = None,
    *,
    dt: ArrayLike,
    optimiser: optax.GradientTransformation | None = None,
    stepper: AbstractStepper = Step(),
    observe: Callable[[Any, Any], PyTree] = output_potentials,
    throw: bool = True,
) -> tuple[Learner, PyTree, RESULTS]:
    """Run a network on a stream, and let it learn at every step.

    - `inputs`, `targets`: one entry per time step, constant over the step. Without targets there are no errors.
    - `optimiser`: any optax transformation of the gradients dE/dtheta (Eqs. 21-24). It is given extra arguments: `pre`,
        `post` and `error` at each weight (`Network.synapses`), and `value`, the mean cost of the step. None: nothing is
        learned.
    - `stepper`: `Step(solver)` with a fixed-step diffrax solver, or `Algorithm1()`.
    - `observe`: what to keep of each step, a function of (network, signals); by default the potentials u + tau_r u' of
        the output neurons, whose activation makes rates of them.
    - `throw`: raise for NaN in the stream, a dt that is not positive or above the stability limit (before or after the
        time constants have learned), errors without solution (`Coupled`), and a network that diverges; with False the
        caller has to look at the result, and whoever failed is returned as it was.

    Returns the learner after the stream, the observations [time, ...] and a result.

    Compiled once per shape of the stream and per object `optimiser` and `observe`: make these once, and not in the
    loop that calls `online`. Numbers such as `dt`, beta and gamma may change freely, and a learning rate where it is
    part of the optimiser's state:

        optimiser = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
        learner = gle.start(network, optimiser)
        for rate in (0.1, 0.05, 0.02):
            learner.optimiser.hyperparams["learning_rate"] = jnp.asarray(rate)
            learner, _, _ = gle.online(learner, inputs, targets, dt=0.1, optimiser=optimiser)

    Raises ValueError for streams whose shapes do not fit the learner, and for a learner that was started without this
    optimiser or stepper.
    """
    _check_learner(learner)
    streams: Any = strongly_typed((as_float("inputs", inputs), as_float("targets", targets)))
    original = learner.network
    dt = as_time_step(dt, dtype_of(original))
    numbers, rest = split_numbers(original)
    learner = strongly_typed(Learner(rest, learner.state, learner.optimiser))
    check_stream(original, *streams)
    after, observed, result = _online(learner, numbers, streams[0], streams[1], dt, optimiser, stepper, observe, throw)
    return Learner(eqx.combine(after.network, original), after.state, after.optimiser), observed, result


@eqx.filter_jit
def _online(
    learner: Learner,
    numbers: PyTree,
    inputs: Float[Array, "time *batch sources"],
    targets: Float[Array, "time *batch outputs"] | None,
    dt: Float[Array, ""],
    optimiser: optax.GradientTransformation | None,
    stepper: AbstractStepper,
    observe: Callable[[Any, Any], PyTree],
    throw: bool,
) -> tuple[Learner, PyTree, RESULTS]:
    """`online` for a network whose Python numbers stand apart, as arrays: they are no parameters."""
    check_state(eqx.combine(learner.network, numbers), learner.state, inputs.shape[1:-1], stepper)
    _check_optimiser(learner, optimiser)
    learner, numbers, inputs, targets, dt, stepper = vary_alike((learner, numbers, inputs, targets, dt, stepper))
    result = examine(eqx.combine(learner.network, numbers), stepper, (inputs, targets), dt)
    update = None if optimiser is None else optax.with_extra_args_support(optimiser).update
    before, static = eqx.partition(learner, eqx.is_array)
    implicit = eqx.combine(learner.network, numbers).implicit

    def step(carry, stream):
        dynamic, solved = carry
        own, state, memory = eqx.combine(dynamic, static)
        network = eqx.combine(own, numbers)
        input, target = stream
        state, signals = stepper.step(network, state, input, target, dt)
        if implicit:
            solved = solved & (all_finite(state) | ~all_finite(dynamic))
        observed = observe(network, signals)
        if update is not None:
            gradients = without(numbers, stepper.gradient(network, state, signals))
            extra = {name: without(numbers, signal) for name, signal in network.synapses(signals).items()}
            extra["value"] = network.loss(signals)
            updates, memory = update(gradients, memory, eqx.filter(own, eqx.is_inexact_array), **extra)
            own = eqx.apply_updates(own, updates)
        return (eqx.filter(Learner(own, state, memory), eqx.is_array), solved), observed

    (after, solved), observed = lax.scan(step, (before, vary_alike((jnp.asarray(True), dt))[0]), (inputs, targets))
    finite = all_finite(after) | (result != RESULTS.successful)
    result = RESULTS.where(finite, result, RESULTS.where(solved, RESULTS.non_finite, RESULTS.no_solution))
    if update is not None:  # time constants may have learned to be too small, or negative
        learned = eqx.combine(after, static).network
        stable = _is_stable(eqx.combine(learned, numbers), stepper, dt) | (result != RESULTS.successful)
        result = RESULTS.where(stable, result, RESULTS.unstable_step)
    well = result == RESULTS.successful
    # Whoever failed is returned as it was. (With throw=True nobody is.)
    # A condition and no selection: XLA would examine everything anew for every array, and compile twice as long.
    after = lax.cond(well, lambda: after, lambda: before)
    if throw:
        after, observed = raise_if((after, observed), ~well, result)
    return eqx.combine(after, static), observed, result


def check_state(network: AbstractSystem, state: Any, batch: tuple[int, ...], stepper: AbstractStepper) -> None:
    """Raise ValueError unless the learner was started for this batch and stepper."""
    wanted = jax.eval_shape(lambda: stepper.init(network, network.init(batch)))
    if _shapes(state) != _shapes(wanted):
        raise ValueError(
            f"learner.state does not fit {type(stepper).__name__} and a batch of {batch}: start the learner with the "
            "same stepper and batch, gle.start(network, optimiser, stepper=..., batch=...)."
        )


def _check_optimiser(learner: Learner, optimiser: optax.GradientTransformation | None) -> None:
    """Raise ValueError unless the learner was started with this optimiser."""
    if optimiser is None:
        return
    wanted = jax.eval_shape(optimiser.init, eqx.filter(learner.network, eqx.is_inexact_array))
    if learner.optimiser is None or _shapes(learner.optimiser) != _shapes(wanted):
        raise ValueError(
            "learner.optimiser is not the state of this optimiser: start the learner with it, "
            "gle.start(network, optimiser)."
        )


def _shapes(tree: PyTree) -> Any:
    arrays = eqx.filter(tree, lambda x: eqx.is_array(x) or isinstance(x, jax.ShapeDtypeStruct))
    leaves, structure = jax.tree.flatten(arrays)
    return str(structure), [np.shape(x) for x in leaves]


def examine(network: AbstractSystem, stepper: AbstractStepper, stream: PyTree, dt: float | Float[Array, ""]) -> RESULTS:
    """What is wrong with a stream or its time step, before anything is run on it."""
    dt = jnp.asarray(dt)
    result = RESULTS.where(all_finite(stream), RESULTS.successful, RESULTS.invalid_input)
    result = RESULTS.where(_is_stable(network, stepper, dt), result, RESULTS.unstable_step)
    return RESULTS.where(dt > 0, result, RESULTS.invalid_step)


def _is_stable(network: AbstractSystem, stepper: AbstractStepper, dt: Float[Array, ""]) -> Bool[Array, ""]:
    # Bounds that time constants keep (`at_least`) are rounded, and so is their product with the limit.
    return dt <= largest_step(network, stepper) * (1 + 4 * jnp.finfo(dt.dtype).eps)


def largest_step(network: AbstractSystem, stepper: AbstractStepper = Step()) -> Float[Array, ""]:
    """The largest stable dt: the limit of the solver for the fastest leaky integrator, membrane or error neuron."""
    return stepper.limit() * jnp.min(jnp.stack([jnp.min(tau) for tau in network.time_constants()]))
