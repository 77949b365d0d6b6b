"""Learning rules that prescribe increments, as optax transformations.

They add what they prescribe to the updates that reach them, so they chain with each other and stand after an optimiser:
`optax.chain(optax.adam(1e-3), optax.masked(sal.align(...), feedback_weights))`.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from sal._numbers import as_count, as_float, as_parameter, as_static
from sal.pairs import SpikeTimes
from sal.spikes import Raster
from sal.stdp import STDP, Sums, Traces

Factor = float | Float[Array, "..."]


class AlignState(NamedTuple):
    """The steps done, and the traces of the spikes so far at each weight."""

    count: Array
    traces: PyTree


def align(
    learning_rate: optax.ScalarOrSchedule,
    stdp: STDP,
    *,
    causal: Factor = -1.0,
    anticausal: Factor = 1.0,
    replicas: tuple[int, ...] = (),
    dt: float | None = None,
    transposed: bool = False,
) -> optax.GradientTransformationExtraArgs:
    """Spike-based alignment learning, SAL: reciprocal weights approach each other (Eqs. 2, 12, 13).

        Delta W_ij = eta (alpha_c sum_causal f(t_i - t_j) + alpha_a sum_anticausal f(t_j - t_i)),

    W_ij leading from j to i, a pair being causal if j fires first. With alpha_c = -1, alpha_a = 1 causal pairs weaken
    (section 2.3; section 4.2 says the opposite). Where only one of two reciprocal weights learns, it goes to the other.

    - `causal`, `anticausal`: the prefactors, common or one per synapse, in the shape of the weight.
    - `replicas`: the axes between time and neurons, over which increments are averaged.
    - `dt`: the time step, if it is to be fixed from the beginning; needed for signals that are plain arrays.
    - `transposed`: for a synapse that runs the other way, from the neurons of a weight to its sources, and is kept in
        the shape of the weight that it is to follow: B beside W. Its presynaptic spikes are `post`, its postsynaptic
        ones `pre`, and `stdp` is what it sees (coincidences per synapse in its own shape, [sources, neurons]).

    `update` takes the signals `pre` and `post`, of the sources and of the neurons: pytrees in the structure of the
    parameters with one of the following in the place of each weight [neurons, sources], and None where nothing is to be
    learned; or one of them bare, for all parameters that the mask, `optax.masked(sal.align(...), mask)`, leaves.

    - A `Raster` with the axes [time, *replicas, neurons]: a part of a stream of any length, down to one step. Pairs
        that span two of them are not lost.
    - An array [*replicas, neurons]: one step of `dt`, 1 for a spike and else 0. (Or a rate times dt, with windows and
        pairs whose traces are linear: `AllPairs` with `Exponential`, `Alpha` or `DoubleExponential`.)
    - Spike times, whole trials, with any leading axes of replicas: `times` and `index` [*replicas, events], as in
        `eventprop.Spikes`, or `times` [*replicas, neurons, slots], as in `eventprop.SpikeTrains`.

    Raises `ValueError` for signals at parameters that are no matrices, for signals that are nowhere, or at one side of
    a weight only, and for those that do not fit it.
    """
    if not isinstance(stdp, STDP):
        raise ValueError(f"align: stdp must be an STDP, of two windows such as sal.Exponential(10.0), but is {stdp!r}")
    dt = None if dt is None else as_static("align: dt", dt)
    replicas = tuple(as_count("align: replicas", number) for number in np.atleast_1d(replicas))
    causal, anticausal = as_parameter("align: causal", causal), as_parameter("align: anticausal", anticausal)

    def init(params):
        def traces(weight):
            post, pre = np.shape(weight)[::-1] if transposed else np.shape(weight)
            return stdp.init((*replicas, pre), (*replicas, post), dt)

        leaves, structure = jax.tree.flatten(params, is_leaf=absent)
        made = [x if absent(x) else (traces(x) if np.ndim(x) == 2 else None) for x in leaves]
        return AlignState(jnp.zeros((), jnp.int32), structure.unflatten(made))

    def update(updates, state, params=None, *, pre=None, post=None, **signals):
        _need("align", pre=pre, post=post)
        rate = _at(learning_rate, state)
        leaves, structure = jax.tree.flatten_with_path(updates, is_leaf=absent)
        spikes = [_placed(name, value, leaves, structure) for name, value in (("pre", pre), ("post", post))]
        new, memory, learning = [], [], False
        for (path, x), traces, *pair in zip(leaves, structure.flatten_up_to(state.traces), *spikes, strict=True):
            if not absent(x) and any(signal is not None for signal in pair):
                shape, learning = _shape(x, pair, path), True
                x = as_float(f"align: the weight {path_name(path)}", x)
                _check_factors(shape, path, causal=causal, anticausal=anticausal)
                sums, traces = _sums(stdp, traces, *_signals(pair, shape, path, dt), shape, transposed)
                x = x + rate * (causal * sums.causal + anticausal * sums.anticausal)
            new.append(x)
            memory.append(traces)
        if not learning and not all(absent(x) for _, x in leaves):
            raise ValueError(
                "align: pre and post are None at every parameter; give them at the weights that shall learn"
            )
        return structure.unflatten(new), AlignState(state.count + 1, structure.unflatten(memory))

    return optax.GradientTransformationExtraArgs(init, update)


def _shape(parameter: Any, signals: list[Any], path: Any) -> tuple[int, int]:
    """[neurons, sources] of a weight that has both signals."""
    shape = np.shape(parameter)
    if len(shape) != 2:
        raise ValueError(
            f"align: the parameter {path_name(path)} must be a weight [neurons, sources], got the shape {shape}; give "
            "no signals there, or leave it out with optax.masked(sal.align(...), mask)"
        )
    if any(signal is None for signal in signals):
        raise ValueError(f"align: the weight {path_name(path)} has only one of pre and post; give both, or none")
    return shape


def _check_factors(shape: tuple[int, int], path: Any, **factors: Factor) -> None:
    for name, factor in factors.items():
        if np.shape(factor) not in ((), shape):
            raise ValueError(
                f"align: {name} must be a number or have the shape {shape} of the weight {path_name(path)}, got "
                f"{np.shape(factor)}"
            )


def absent(x: Any) -> bool:
    """What a mask or a filter has left of a parameter."""
    return x is None or _masked(x)


def path_name(path: Any) -> str:
    """Where a parameter stands in its pytree."""
    return jax.tree_util.keystr(path) or "given"


def _is_signal(x: Any) -> bool:
    return isinstance(x, Raster | SpikeTimes) or eqx.is_array(x)


def _placed(name: str, value: Any, leaves: list, structure: Any) -> list:
    """The signals at the parameters, in their order."""
    if _is_signal(value):
        return [value] * len(leaves)
    try:
        return structure.flatten_up_to(value)
    except ValueError as error:
        raise ValueError(
            f"{name} must be a pytree in the structure of the parameters (None where there is no weight), or one "
            f"signal for all: a sal.Raster, spike times or an array. It does not fit: {error}"
        ) from error


def _signals(
    pair: list[Any], shape: tuple[int, int], path: Any, dt: float | None
) -> tuple[Raster | SpikeTimes, Raster | SpikeTimes]:
    """`pre` and `post` at one weight [neurons, sources]."""
    (pre, post), (neurons, sources) = pair, shape
    return _signal("pre", pre, sources, path, dt), _signal("post", post, neurons, path, dt)


def _signal(name: str, spikes: Any, neurons: int, path: Any, dt: float | None) -> Raster | SpikeTimes:
    """The signal at one weight, an array as a raster of one step."""
    if eqx.is_array(spikes):
        if dt is None:
            raise ValueError(
                f"{name} at the weight {path_name(path)} is an array, one time step: say how long it is, "
                "sal.align(..., dt=...), or give a sal.Raster"
            )
        if np.ndim(spikes) == 0:
            raise ValueError(f"{name} at the weight {path_name(path)} must have the shape [*replicas, neurons], got ()")
        spikes = Raster(jnp.asarray(spikes)[None], dt)
    if isinstance(spikes, Raster):
        if spikes.spikes.shape[-1] != neurons:
            raise ValueError(
                f"{name} must have {neurons} neurons, as the weight {path_name(path)} has, got a raster of shape "
                f"{spikes.spikes.shape}"
            )
    elif not isinstance(spikes, SpikeTimes):
        raise ValueError(
            f"{name} must be a sal.Raster, spike times or an array at the weight {path_name(path)}, got {spikes!r}; "
            "leave weights without signals out with optax.masked(sal.align(...), mask)"
        )
    return spikes


def _sums(
    stdp: STDP,
    traces: Traces,
    pre: Raster | SpikeTimes,
    post: Raster | SpikeTimes,
    shape: tuple[int, int],
    transposed: bool,
) -> tuple[Sums, Traces]:
    """In the shape of the weight, also where the synapse runs the other way, from `post` to `pre`."""
    if transposed:
        sums, traces = _sums(stdp, traces, post, pre, (shape[1], shape[0]), transposed=False)
        return Sums(sums.causal.T, sums.anticausal.T), traces
    if isinstance(pre, Raster) and isinstance(post, Raster):
        return stdp.update(traces, pre, post)
    if isinstance(pre, Raster) or isinstance(post, Raster):
        raise ValueError("pre and post must both be rasters or both be spike times; see eventprop.Spikes.from_raster")
    return stdp.pairs(pre, post, shape), traces


def wake_sleep(
    learning_rate: optax.ScalarOrSchedule, *, wake_factor: PyTree = 1.0, sleep_factor: PyTree = 1.0
) -> optax.GradientTransformationExtraArgs:
    """Wake-sleep learning of Boltzmann machines (Eqs. 32, 33).

        Delta theta = eta (alpha_wake <.>_wake - alpha_sleep <.>_sleep)

    `update` takes the signals `wake` and `sleep`: moments in the structure of the parameters, <z_i z_j> for weights and
    <z_i> for biases. `state_moments` and `spike_moments` measure them; the latter makes the rule spike-based.

    Plasticity noise: factors 1 + xi per synapse on both phases are the paper's, on `sleep_factor` alone what its
    authors' code does, which moves the fixed point and drives reciprocal weights apart.
    """

    def update(updates, state, params=None, *, wake=None, sleep=None, **signals):
        _need("wake_sleep", wake=wake, sleep=sleep)
        rate = _at(learning_rate, state)

        def one(update, wake, sleep, awake, asleep):
            for name, value in (("wake", wake), ("sleep", sleep)):
                if np.shape(value) != np.shape(update):
                    raise ValueError(
                        f"wake_sleep: {name} must hold moments in the shapes of the parameters, here "
                        f"{np.shape(update)}, got {np.shape(value)}"
                    )
            for name, factor in (("wake_factor", awake), ("sleep_factor", asleep)):
                if np.shape(factor) not in ((), np.shape(update)):
                    raise ValueError(
                        f"wake_sleep: {name} must be a number or have the shape of the parameter, {np.shape(update)}, "
                        f"got {np.shape(factor)}"
                    )
            return update + rate * (awake * wake - asleep * sleep)

        factors = (_like(updates, factor) for factor in (wake_factor, sleep_factor))
        return _map(one, updates, wake, sleep, *factors), CountState(state.count + 1)

    return optax.GradientTransformationExtraArgs(_start, update)


def weight_decay(decay: optax.ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    """Weight decay, -lambda W, by which reciprocal weights with equal updates approach each other (Eq. 5).

    It is what Kolen and Pollack's method does to W and to B; their equal updates are the transport `KolenPollack`.

    Unlike `optax.add_decayed_weights` it stands after the learning rate: lambda is the decay per step.
    """

    def update(updates, state, params=None, **signals):
        if params is None:
            raise ValueError("weight_decay: params must be given to update, got None: they are what decays")
        rate = _at(decay, state)
        return _map(lambda update, weights: update - rate * weights, updates, params), CountState(state.count + 1)

    return optax.GradientTransformationExtraArgs(_start, update)


class CountState(NamedTuple):
    """How many steps are done, for schedules."""

    count: Array


def _start(params: PyTree) -> CountState:
    return CountState(jnp.zeros((), jnp.int32))


def _need(rule: str, **signals: Any) -> None:
    for name, value in signals.items():
        if value is None:
            raise ValueError(f"{rule}: update must be given {name}=..., got None; see its docstring")


def _at(rate: optax.ScalarOrSchedule, state: CountState | AlignState) -> Any:
    return rate(state.count) if callable(rate) else rate


def _masked(x: Any) -> bool:
    return isinstance(x, optax.MaskedNode)


def _map(f: Any, tree: PyTree, *rest: PyTree) -> PyTree:
    """`jax.tree.map`, except that leaves masked out by `optax.masked` stay as they are, whatever `rest` has there."""
    return jax.tree.map(lambda x, *xs: x if _masked(x) else f(x, *xs), tree, *rest, is_leaf=_masked)


def _like(tree: PyTree, factor: PyTree) -> PyTree:
    """One number for all leaves, or a factor for each."""
    one = isinstance(factor, int | float) or (eqx.is_array(factor) and np.ndim(factor) == 0)
    return _map(lambda _: factor, tree) if one else factor
