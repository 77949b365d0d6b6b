"""Spiking sampling networks learn distributions with asymmetric synapses (Gierlich et al., Figs. 4, 5, 14)."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import sal
from benchmarks.errors import InvalidInput
from benchmarks.training import Metrics, Training, outcome, train
from sal import RESULTS

CHUNK = 20.0
"""Refractory periods that are simulated in one piece."""
RULES = ("none", "sal", "kp")


@dataclasses.dataclass(frozen=True)
class SynapticNoise:
    """Sampling networks with asymmetric initial weights.

    Every seed has a target distribution of its own and trains all networks of the figure on it, side by side, with the
    same initial weights, noise and random numbers: wake-sleep alone, with SAL and with Kolen-Pollack at each level.
    Time is counted in refractory periods of ten steps (the paper: 50). The weight decay is that of the lowest D_KL in
    Fig. 14, as in the paper.
    """

    levels: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    """Standard deviations of the noise on each initial weight."""
    units: int = 7
    cycles: int = 1500
    """How often wake, sleep and update take turns; the paper calls them epochs."""
    report_every: int = 150
    """Cycles between two measurements of D_KL, which are the epochs of the run."""
    sleep: float = 1000.0
    """Refractory periods of one sleep phase."""
    validation: float = 1e5
    """Refractory periods from which D_KL is estimated."""
    steps: int = 10
    """Time steps per refractory period."""
    learning_rate: float = 0.01
    sal_rate: float = 0.01
    decay: float = 5e-4
    """lambda of Kolen-Pollack."""


@dataclasses.dataclass(frozen=True)
class PlasticityNoise(SynapticNoise):
    """Sampling networks with heterogeneous plasticity.

    All synapses start with noise of 0.2. Each scales its updates by a factor of its own, as in the authors' code in the
    sleep phase only, which moves the fixed point and drives reciprocal weights apart; the paper's text scales both
    phases (`noisy_wake`). Rates are ten times, and epochs fewer than, the paper's.
    """

    levels: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)
    """Standard deviations of the factors, which are cut off at 1.5 of them."""
    cycles: int = 800
    report_every: int = 100
    sal_rate: float = 0.02
    decay: float = 4e-5
    noisy_wake: bool = False


@dataclasses.dataclass(frozen=True)
class WeightDecay(SynapticNoise):
    """Sampling networks, Kolen-Pollack's weight decay.

    Every decay rate in both scenarios, with synaptic noise of `levels` or plasticity noise of `plasticity_levels`.
    """

    levels: tuple[float, ...] = (0.2, 0.8)
    plasticity_levels: tuple[float, ...] = (0.05, 0.2)
    decays: tuple[float, ...] = (1e-5, 4e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3)
    cycles: int = 2000
    report_every: int = 500


class Members(eqx.Module):
    """The networks of a figure: what distinguishes them."""

    synaptic: Float[Array, " members"]
    plasticity: Float[Array, " members"]
    noisy_wake: Float[Array, " members"]
    sal_rate: Float[Array, " members"]
    decay: Float[Array, " members"]


def members(config: SynapticNoise) -> tuple[list[str], Members]:
    """Names such as `sal_0.8` and settings of all networks; `none_0` is the reference without the noise at issue."""
    rows = {}

    def add(name, synaptic, plasticity, rule, decay):
        wake = isinstance(config, PlasticityNoise) and config.noisy_wake
        rows[name] = (synaptic, plasticity, wake, config.sal_rate if rule == "sal" else 0.0, decay)

    if isinstance(config, WeightDecay):
        for kind, levels in (("synaptic", config.levels), ("plasticity", config.plasticity_levels)):
            for level in levels:
                noise = (level, 0.0) if kind == "synaptic" else (0.2, level)
                add(f"sal_{kind}_{level:g}", *noise, "sal", 0.0)
                for decay in config.decays:
                    add(f"kp_{kind}_{level:g}_{decay:g}", *noise, "kp", decay)
    else:
        plastic = isinstance(config, PlasticityNoise)
        add("none_0", 0.2 if plastic else 0.0, 0.0, "none", 0.0)
        for level in config.levels:
            for rule in RULES:
                noise = (0.2, level) if plastic else (level, 0.0)
                add(f"{rule}_{level:g}", *noise, rule, config.decay if rule == "kp" else 0.0)
    columns = [jnp.array(column, float) for column in zip(*rows.values(), strict=True)]
    return list(rows), Members(*columns)


Parameters = dict[str, Float[Array, "..."]]
"""`weights` and `bias` of a network: what it learns."""


class State(eqx.Module):
    """All networks of one seed."""

    target: sal.Boltzmann
    parameters: Parameters
    """With a leading axis of members, as all below."""
    wake_factor: Parameters
    sleep_factor: Parameters
    network: sal.State
    key: PRNGKeyArray
    result: sal.RESULTS


class SamplingTraining(Training):
    """Wake-sleep training of all members side by side."""

    epochs: int
    steps_per_epoch: int
    config: SynapticNoise
    names: list[str]
    members: Members

    def __init__(self, config: SynapticNoise):
        if config.cycles % config.report_every:
            raise InvalidInput(
                f"cycles must be a multiple of report_every = {config.report_every}, got {config.cycles}."
            )
        self.config = config
        self.epochs, self.steps_per_epoch = config.cycles // config.report_every, config.report_every
        self.names, self.members = members(config)

    def init(self, key: PRNGKeyArray) -> State:
        target_key, bias_key, weight_key, start_key, noise_key, factor_key, run = jax.random.split(key, 7)
        units, shape = self.config.units, (self.config.units,) * 2
        target = sal.Boltzmann(
            symmetric(jax.random.uniform(target_key, shape, minval=-1, maxval=1)),
            jax.random.uniform(bias_key, (units,), minval=-1, maxval=1),
        )
        weights = symmetric(0.2 * jax.random.normal(weight_key, shape))
        bias = 0.2 * jax.random.normal(start_key, (units,))
        noise = jax.random.normal(noise_key, shape) * (1 - jnp.eye(units))
        factor = jax.random.truncated_normal(factor_key, -1.5, 1.5, shape)

        def member(settings):
            sleep = 1 + settings.plasticity * factor
            wake = 1 + settings.noisy_wake * settings.plasticity * factor
            one = jnp.ones(units)
            start = {"weights": weights + settings.synaptic * noise, "bias": bias}
            factors = ({"weights": factor, "bias": one} for factor in (wake, sleep))
            return start, *factors, build(start).init()

        parameters, wake, sleep, network = jax.vmap(member)(self.members)
        return State(target, parameters, wake, sleep, network, run, sal.RESULTS.successful)

    def epoch(self, state: State, number: Int[Array, ""]) -> tuple[State, Metrics]:
        del number
        state, _ = jax.lax.scan(lambda state, _: (self._cycle(state), None), state, length=self.config.report_every)
        return self._judge(state)

    def finish(self, state: State) -> tuple[Metrics, Parameters, RESULTS]:
        return {}, state.parameters, state.result

    def _cycle(self, state: State) -> State:
        key, run = jax.random.split(state.key)
        wake = state.target.moments()

        def member(parameters, wake_factor, sleep_factor, network, settings):
            factors = wake_factor, sleep_factor
            return cycle(self.config, parameters, network, wake, factors, settings, run)

        parameters, network, results = jax.vmap(member)(
            state.parameters, state.wake_factor, state.sleep_factor, state.network, self.members
        )
        return dataclasses.replace(
            state, parameters=parameters, network=network, key=key, result=outcome(state.result, results)
        )

    def _judge(self, state: State) -> tuple[State, Metrics]:
        key, run = jax.random.split(state.key)
        target = state.target.probabilities()

        def member(parameters, network):
            found, network, result = sal.sample(
                build(parameters),
                CHUNK,
                chunks=round(self.config.validation / CHUNK),
                dt=1 / self.config.steps,
                key=run,
                state=network,
                throw=False,
            )
            return sal.kl_divergence(found, target), asymmetry(parameters["weights"]), network, result

        divergences, asymmetries, network, results = jax.vmap(member)(state.parameters, state.network)
        metrics = {}
        for number, name in enumerate(self.names):
            metrics[f"kl_{name}"] = divergences[number]
            metrics[f"asymmetry_{name}"] = asymmetries[number]
        state = dataclasses.replace(state, network=network, key=key, result=outcome(state.result, results))
        return state, metrics


def build(parameters: Parameters) -> sal.Network:
    """A network whose refractory period is the unit of time."""
    return sal.Network(sal.Recurrent(parameters["weights"]), parameters["bias"], 1.0)


def cycle(
    config: SynapticNoise,
    parameters: Parameters,
    state: sal.State,
    wake: sal.Moments,
    factors: tuple[Parameters, Parameters],
    settings: Members,
    key: PRNGKeyArray,
) -> tuple[Parameters, sal.State, sal.RESULTS]:
    """One sleep phase, with the sums of both kinds of STDP, and the update after it (Eqs. 4, 5, 12)."""
    shape = (config.units,)
    network, (wake_factor, sleep_factor) = build(parameters), factors
    chunks = round(config.sleep / CHUNK)
    overlap = sal.overlap_stdp(network.tau_ref)
    window = sal.Exponential(network.tau_ref)
    stdp = sal.STDP(window, window, network.tau_ref, sal.AllPairs(), sal.one_by_one(config.units))
    align = sal.align(settings.sal_rate / config.sleep, stdp)
    off_diagonal = 1 - jnp.eye(config.units)

    def add(carry, solution):
        moments, traces, increments, memory = carry
        new, traces = sal.spike_moments(overlap, traces, solution.spikes)
        moments = jax.tree.map(lambda total, x: total + x / chunks, moments, new)
        increments, memory = align.update(increments, memory, pre=solution.spikes, post=solution.spikes)
        return moments, traces, increments, memory

    zero = jnp.zeros(shape * 2)
    start = sal.Moments(zero, jnp.zeros(shape)), overlap.init(shape, shape), zero, align.init(zero)
    (sleep, _, aligned, _), state, result = sal.accumulate(
        add, start, network, CHUNK, chunks=chunks, dt=1 / config.steps, key=key, state=state, throw=False
    )
    rules = optax.chain(
        sal.wake_sleep(config.learning_rate, wake_factor=wake_factor, sleep_factor=sleep_factor),
        optax.masked(sal.weight_decay(settings.decay), {"weights": True, "bias": False}),
    )
    updates = {"weights": aligned * sleep_factor["weights"] * off_diagonal, "bias": jnp.zeros(shape)}
    phases = {name: {"weights": m.weight, "bias": m.bias} for name, m in (("wake", wake), ("sleep", sleep))}
    updates, _ = rules.update(updates, rules.init(parameters), parameters, **phases)
    return jax.tree.map(jnp.add, parameters, updates), state, result


def symmetric(x: Float[Array, "units units"]) -> Float[Array, "units units"]:
    """The upper triangle of a matrix, copied to the lower one; zeros on the diagonal."""
    upper = jnp.triu(x, 1)
    return upper + upper.T


def asymmetry(weights: Float[Array, "units units"]) -> Float[Array, ""]:
    """Var(W_ij - W_ji) over the pairs i < j."""
    upper = np.triu_indices(weights.shape[0], 1)
    return jnp.var((weights - weights.T)[upper])


def sampling(config: SynapticNoise, key: PRNGKeyArray) -> tuple[Metrics, Parameters, RESULTS]:
    """Trains all networks of one seed."""
    return train(SamplingTraining(config), key)
