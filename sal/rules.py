"""Learning rules that prescribe increments, as optax transformations.

They add what they prescribe to the updates that reach them, so they chain with each other and stand after an optimiser:
`optax.chain(optax.adam(1e-3), optax.masked(sal.align(...), feedback_weights))`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from sal.spikes import Raster
from sal.stdp import STDP, SpikeTimes, Sums

Factor = float | Float[Array, "post pre"]


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
) -> optax.GradientTransformationExtraArgs:
    """Spike-based alignment learning, SAL: reciprocal weights approach each other (Eqs. 2, 12, 13).

        Delta W_ij = eta (alpha_c sum_causal f(t_i - t_j) + alpha_a sum_anticausal f(t_j - t_i)),

    W_ij leading from j to i, a pair being causal if j fires first. With alpha_c = -1, alpha_a = 1 causal pairs weaken
    (section 2.3; section 4.2 says the opposite). Where only one of two reciprocal weights learns, it goes to the other.

    - `causal`, `anticausal`: the prefactors, common or one per synapse.
    - `replicas`: the axes between time and neurons, over which increments are averaged.

    `update` takes the signals `pre` and `post`: pytrees with a `Raster` or with spike times (`times`, `index`, as
    `eventprop.Spikes`) at the place of each weight. Rasters may be parts of a stream of any length, down to one step:
    pairs that span two of them are not lost. Spike times are whole trials.
    """

    def init(params):
        def traces(weights):
            post, pre = weights.shape
            return stdp.init((*replicas, pre), (*replicas, post))

        return AlignState(jnp.zeros((), jnp.int32), _map(traces, params))

    def update(updates, state, params=None, *, pre=None, post=None, **signals):
        _need("align", pre=pre, post=post)
        rate = _at(learning_rate, state)

        def one(update, traces, pre, post):
            sums, traces = _sums(stdp, traces, pre, post, update.shape)
            return update + rate * (causal * sums.causal + anticausal * sums.anticausal), traces

        pairs = _map(one, updates, state.traces, pre, post)
        new, traces = (_map(lambda _, pair, i=i: pair[i], updates, pairs) for i in (0, 1))
        return new, AlignState(state.count + 1, traces)

    return optax.GradientTransformationExtraArgs(init, update)


def _sums(stdp: STDP, traces: PyTree, pre: Any, post: Any, shape: tuple[int, int]) -> tuple[Sums, PyTree]:
    for name, spikes, neurons in (("pre", pre, shape[1]), ("post", post, shape[0])):
        if isinstance(spikes, Raster):
            if spikes.spikes.shape[-1] != neurons:
                raise ValueError(
                    f"{name} must have {neurons} neurons, as the weights of shape {shape} have, "
                    f"got a raster of shape {spikes.spikes.shape}"
                )
        elif not isinstance(spikes, SpikeTimes):
            raise ValueError(f"{name} must be a sal.Raster or have times and index at each weight, got {spikes!r}")
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
            return update + rate * (awake * wake - asleep * sleep)

        factors = (_like(updates, factor) for factor in (wake_factor, sleep_factor))
        return _map(one, updates, wake, sleep, *factors), CountState(state.count + 1)

    return optax.GradientTransformationExtraArgs(_start, update)


def kolen_pollack(decay: optax.ScalarOrSchedule) -> optax.GradientTransformationExtraArgs:
    """Weight decay, -lambda W, by which reciprocal weights with equal updates approach each other (Eq. 5).

    Unlike `optax.add_decayed_weights` it stands after the learning rate: lambda is the decay per step.
    """

    def update(updates, state, params=None, **signals):
        if params is None:
            raise ValueError("kolen_pollack: params must be given to update, got None: they are what decays")
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
    return _map(lambda _: factor, tree) if isinstance(factor, int | float) else factor
