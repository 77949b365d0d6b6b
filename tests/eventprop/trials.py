"""Random trials of one LIF layer, for the solver (pytrees that can be stacked and vmapped) and for the reference."""

from collections.abc import Sequence

import diffrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

import eventprop as ep
from tests.eventprop import reference

BATCH, EVENTS, SAMPLES, SLOTS = 12, (64, 512), 40, 36
RATIOS = (4.0, 2.0, 1.0, 0.5, 1.0000001)  # tau_mem / tau_syn


class Trial(eqx.Module):
    """One trial of one layer, parameters per neuron; `refractory` None is none, `reset` None subtracts."""

    times: Float[Array | np.ndarray, "*batch events"]
    index: Int[Array | np.ndarray, "*batch events"]
    weights: Float[Array | np.ndarray, "*batch inputs neurons"]
    tau_mem: Float[Array | np.ndarray, "*batch neurons"]
    tau_syn: Float[Array | np.ndarray, "*batch neurons"]
    threshold: Float[Array | np.ndarray, "*batch neurons"]
    bias: Float[Array | np.ndarray, "*batch neurons"]
    v: Float[Array | np.ndarray, "*batch neurons"]
    i: Float[Array | np.ndarray, "*batch neurons"]
    t1: Float[Array | np.ndarray, "*batch"]
    refractory: Float[Array | np.ndarray, "*batch neurons"] | None = None
    reset: Float[Array | np.ndarray, "*batch neurons"] | None = None

    def lif(self) -> ep.LIF:
        reset = ep.ResetBySubtraction() if self.reset is None else ep.ResetToValue(self.reset)
        return ep.LIF(self.tau_mem, self.tau_syn, self.threshold, reset, self.refractory, self.bias)

    def state(self) -> ep.NetworkState:
        return ep.NetworkState((ep.LIFState.free(self.v, self.i),))

    def simulate(self, max_spikes: int, ts=None, throw: bool = True) -> ep.Solution:
        network = ep.FeedForward([(ep.Dense(self.weights.T), self.lif())])
        return ep.simulate(
            network,
            ep.Spikes(self.times, self.index),
            self.t1,
            solver=ep.Exact(max_spikes=(max_spikes,)),
            saveat=None if ts is None else diffrax.SaveAt(ts=ts),
            state=self.state(),
            throw=throw,
        )

    def neurons(self) -> list[reference.Neuron]:
        """The same neurons for the reference."""
        size = len(self.tau_mem)
        refractory = np.zeros(size) if self.refractory is None else self.refractory
        reset = [None] * size if self.reset is None else [float(value) for value in self.reset]
        columns = zip(self.tau_mem, self.tau_syn, self.threshold, reset, refractory, self.bias, strict=True)
        return [reference.Neuron(float(a), float(b), float(c), d, float(e), float(f)) for a, b, c, d, e, f in columns]

    def reference(self) -> list[reference.Trajectory]:
        return reference.simulate_layer(
            self.times, self.index, self.weights, self.neurons(), float(self.t1), self.v, self.i
        )


def random_trial(rng, inputs: int, *, duration=60.0, t1=60.0, tau_mem=20.0, refractory=False, reset=False) -> Trial:
    """One event per input, 20 neurons: each ratio of time constants with four biases, one above threshold."""
    tau_syn = np.repeat(tau_mem / np.array(RATIOS), 4)
    bias = np.tile([0.0, 0.5, -0.5, 1.5 if np.isfinite(t1) else 0.8], len(RATIOS))
    drive = 2.0 * duration / (inputs * tau_syn)  # the weight that, sent by all inputs, would hold I near 2
    return Trial(
        times=np.sort(rng.uniform(0, duration, inputs)),
        index=rng.permutation(inputs),
        weights=(rng.normal(1.0, 1.0, (inputs, 1)) + rng.normal(0.3, 0.5 * np.sqrt(inputs), (inputs, 20))) * drive,
        tau_mem=np.full(20, tau_mem),
        tau_syn=tau_syn,
        threshold=rng.uniform(0.8, 1.2, 20),
        bias=bias,
        v=rng.uniform(-0.5, 0.7, 20),
        i=rng.uniform(-4.0, 2.0, 20),
        t1=np.asarray(t1),
        # Some neurons fire at most once.
        refractory=np.where(rng.uniform(size=20) < 0.3, np.inf, rng.uniform(0.5, 8.0, 20)) if refractory else None,
        reset=rng.uniform(-0.5, 0.3, 20) if reset else None,
    )


def pad(trial: Trial, events: int) -> Trial:
    """The same trial with room for `events` events, and as many sources."""
    extra = (0, events - len(trial.times))
    times = np.pad(trial.times, extra, constant_values=np.inf)
    weights = np.pad(trial.weights, ((0, events - len(trial.weights)), (0, 0)))
    return eqx.tree_at(lambda t: (t.times, t.index, t.weights), trial, (times, np.pad(trial.index, extra), weights))


def solve(trials: Sequence[Trial], ts, throw: bool = True) -> list[ep.Solution]:
    """Solutions as NumPy arrays; `ts` [SAMPLES]. All is padded to one shape: one compilation serves all."""
    assert len(trials) <= BATCH and len(ts) == SAMPLES
    events = next(size for size in EVENTS if size >= max(len(trial.times) for trial in trials))
    padded = [pad(trial, events) for trial in trials] + [pad(trials[0], events)] * (BATCH - len(trials))
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *padded)
    solutions = jax.tree.map(np.asarray, _solve(batch, ts.astype(batch.times.dtype), throw))
    return [jax.tree.map(lambda leaf, n=n: leaf[n], solutions) for n in range(len(trials))]


@eqx.filter_jit
def _solve(trials: Trial, ts, throw: bool) -> ep.Solution:
    return eqx.filter_vmap(lambda trial: trial.simulate(SLOTS, ts, throw))(trials)
