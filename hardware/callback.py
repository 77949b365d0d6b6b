"""A user's own chip: a driver in plain NumPy, called from within JAX programs."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from eventprop import AbstractNetwork, Spikes, SpikeTrains
from eventprop.neurons.base import sends_spikes
from eventprop.parameters import check_not_negative, check_type, whole
from hardware.codes import Codes
from hardware.device import AbstractDevice, Measurement, Readings, Record, Stimulus
from hardware.limits import Limits
from hardware.mixed import hardware_side
from hardware.observe import cadc_times, madc_times
from hardware.placement import Placement

Events = tuple[np.ndarray, np.ndarray]
"""Times (µs, ascending) and sources of the events of one trial."""


class Setup(NamedTuple):
    """What `configure` hands to `run`: all that sets a chip up, so that no run can meet the settings of another.

    network: its structure and neurons (with the chip's side of each `Mixed`); its weights are those of the last
    `configure`, not those to use. codes: None if the driver is to bring its own.
    """

    network: AbstractNetwork
    placement: Placement
    codes: Codes | None


class Answer(NamedTuple):
    """What a driver has recorded; a list has one entry per trial, a tuple one per population of the network.

    - spikes: lists of (times, neurons); None for populations without spikes;
    - cadc: samples [trials, samples, neurons]; None for populations that are not recorded;
    - cadc_times [samples], as many as the chip samples in [0, t1) (`hardware.observe.cadc_times`);
    - madc [trials, madc samples, recorded neurons], or None; drops [trials]: events that did not get through.
    """

    spikes: tuple[list[Events] | None, ...]
    cadc: tuple[np.ndarray | None, ...]
    cadc_times: np.ndarray
    madc: np.ndarray | None
    drops: np.ndarray


@runtime_checkable
class Driver(Protocol):
    """The program that talks to a chip. All arrays are NumPy's, times µs."""

    def run(
        self, setup: Setup, weights: tuple[np.ndarray, ...], spikes: list[Events], t1: float, record: Record, seed: int
    ) -> Answer:
        """Set the chip up, load the weights (whole numbers [neurons, sources]) and run all trials from 0 to t1."""
        ...

    def measure(self, codes: Codes, stimulus: Stimulus, seed: int) -> Answer:
        """All circuits under a stimulus, for chips that shall be calibrated here; see `AbstractDevice.measure`.

        They answer like one population in one trial; madc has the traces of all circuits.
        """
        ...


class CallbackDevice(AbstractDevice):
    """A real chip, or whatever else a `Driver` reaches: `CallbackDevice(driver, limits, identity)`.

    A run leaves JAX once, with all trials of a batch, and comes back with the recorded numbers, also within `jax.jit`,
    `jax.grad` and `jax.lax.scan`. `configure` only collects what the driver is to set; the driver gets it with every
    run, may route the network in its own way, and bring its own codes (an `Experiment` without a calibration). Nothing
    can be differentiated through it: `in_the_loop` does not try.

    identity: of the chip, two whole numbers from 0 to 2^32 - 1. Raises ValueError for others, and for a driver without
    `run` and `measure`.

    There is one chip, so `jax.vmap` is an error: trials go along the leading axes of `spikes`, several networks one
    after the other with `jax.lax.map`. An answer of other shapes than `Answer` tells is an error when it comes.
    """

    driver: Driver = eqx.field(static=True)
    limits: Limits = eqx.field(static=True)
    number: tuple[int, int] = eqx.field(static=True)

    def __init__(self, driver: Driver, limits: Limits, identity: Sequence[int]):
        check_type("driver", driver, Driver)
        check_type("limits", limits, Limits)
        self.driver, self.limits = driver, limits
        numbers = tuple(identity)
        if len(numbers) != 2 or any(whole("identity", number) >= 2**32 for number in numbers):
            raise ValueError(f"identity must be two whole numbers from 0 to 2^32 - 1, but is {identity}.")
        self.number = int(numbers[0]), int(numbers[1])

    @property
    def identity(self) -> UInt32[Array, "2"]:
        """The chip's number."""
        return jnp.asarray(self.number, jnp.uint32)

    def measure(self, codes: Codes, stimulus: Stimulus, key: PRNGKeyArray) -> Measurement:
        """See `AbstractDevice`; the driver gets whole codes."""
        stimulus.check(self.limits)
        size, slots = self.limits.circuits, stimulus.max_spikes
        slow, fast = (len(times(stimulus.duration, self.limits)) for times in (cadc_times, madc_times))
        array = partial(jax.ShapeDtypeStruct, dtype=jnp.result_type(float))
        shapes = _Raw(
            (array((size, slots)) if stimulus.features.spiking else None,),
            (array((1, slow, size)),),
            array((slow,)),
            array((1, fast, size)) if stimulus.madc else None,
            jax.ShapeDtypeStruct((1,), jnp.int32),
        )

        def ask(codes, stimulus, seed):
            answer = _sound(self.driver.measure(_whole(codes), stimulus, int(seed)), 1)
            (spikes,), lost = answer.spikes, 0
            if spikes is not None:
                times, index, rank, lost = _kept(*spikes[0], size, slots)
                spikes = np.full((size, slots), np.inf)
                spikes[index, rank] = times
            return _Raw((spikes,), answer.cadc, answer.cadc_times, answer.madc, np.asarray(answer.drops) + lost)

        found = _asked(ask, shapes, (codes.check(), stimulus, jax.random.bits(key)))
        (spikes,), (cadc,) = found.spikes, found.cadc
        return Measurement(
            None if spikes is None else SpikeTrains(spikes),
            found.drops[0],
            cadc[0],
            found.cadc_times,
            None if found.madc is None else found.madc[0],
            jnp.asarray(madc_times(stimulus.duration, self.limits), cadc.dtype) if stimulus.madc else None,
        )

    def configure(self, network: AbstractNetwork, placement: Placement, codes: Codes | None) -> Setup:
        """See `AbstractDevice`: what the driver is to set up before each run."""
        return Setup(hardware_side(network), placement, None if codes is None else codes.check())

    def run(
        self,
        handle: Setup,
        weights: tuple[Float[Array, "_ _"], ...],
        spikes: Spikes,
        t1: float,
        record: Record,
        key: PRNGKeyArray,
    ) -> Readings:
        """See `AbstractDevice`."""
        network, batch, dtype = handle.network, spikes.times.shape[:-1], spikes.times.dtype
        trials, sizes, slots = math.prod(batch), network.sizes, record.max_spikes
        spiking = [sends_spikes(neuron) for neuron in network.neurons]
        recorded, neurons = record.populations(network), len(record.madc)
        slow, fast = (len(times(t1, self.limits)) for times in (cadc_times, madc_times))
        array = partial(jax.ShapeDtypeStruct, dtype=dtype)
        shapes = _Raw(
            tuple(
                (array((trials, n * slots)), jax.ShapeDtypeStruct((trials, n * slots), jnp.int32)) if fires else None
                for n, fires in zip(sizes, spiking, strict=True)
            ),
            tuple(array((trials, slow, n)) if number in recorded else None for number, n in enumerate(sizes)),
            array((slow,)),
            array((trials, fast, neurons)) if neurons else None,
            jax.ShapeDtypeStruct((trials,), jnp.int32),
        )

        def ask(handle, weights, times, index, seed):
            setup = handle._replace(codes=None if handle.codes is None else _whole(handle.codes))
            whole = tuple(np.rint(weight).astype(int) for weight in weights)
            trains = [(t[t < np.inf], i[t < np.inf]) for t, i in zip(times, index, strict=True)]
            answer = self.driver.run(setup, whole, trains, float(t1), record, int(seed))
            return _padded(_sound(answer, len(sizes)), sizes, slots)

        flat = (x.reshape(trials, x.shape[-1]) for x in (spikes.times, spikes.index))
        found = _asked(ask, shapes, (handle, weights, *flat, jax.random.bits(key)))
        per_trial = found.spikes, found.cadc, found.madc, found.drops
        events, cadc, madc, drops = jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), per_trial)
        return Readings(
            tuple(None if each is None else Spikes(*each) for each in events),
            cadc,
            found.cadc_times,
            madc,
            jnp.asarray(madc_times(t1, self.limits), dtype) if neurons else None,
            drops,
        )


class _Raw(NamedTuple):
    """An `Answer` as arrays of fixed shapes."""

    spikes: Any
    cadc: Any
    cadc_times: Any
    madc: Any
    drops: Any


def _asked(ask: Callable[..., Any], shapes: Any, arguments: Any) -> Any:
    """What `ask` answers, of these shapes, whenever the program gets here."""
    arrays, rest = eqx.partition(arguments, eqx.is_array)

    def host(arrays):
        return _fitting(ask(*eqx.combine(jax.tree.map(np.asarray, arrays), rest)), shapes)

    @jax.custom_batching.custom_vmap
    def call(arrays):
        return io_callback(host, shapes, arrays)

    @call.def_vmap
    def _(axis_size, in_batched, arrays):
        raise ValueError(
            "there is one real chip, of which jax.vmap cannot make many: put trials along the leading axes of "
            "`spikes`, and take networks one after the other with jax.lax.map. (Emulated chips can be vmapped.)"
        )

    @jax.custom_jvp
    def underived(arrays):
        return call(arrays)

    @underived.defjvp
    def _(primals, tangents):
        raise ValueError(
            "nothing can be differentiated through a real chip: take in_the_loop(experiment, device, gradient), whose "
            "derivatives are the model's."
        )

    return underived(arrays)


def _sound(answer: Any, populations: int) -> Answer:
    """The answer. Raises ValueError for another kind of it, or of its parts."""
    check_type("the driver's answer", answer, Answer, "hardware.Answer(spikes, cadc, cadc_times, madc, drops)")
    if not isinstance(answer.spikes, tuple) or len(answer.spikes) != populations:
        raise ValueError(
            f"the driver's spikes must be a tuple with one entry per population, {populations}, but are "
            f"{answer.spikes!r}."
        )
    if np.any(np.diff(np.asarray(answer.cadc_times, float)) <= 0):
        raise ValueError(f"the driver's cadc_times must ascend, but are {answer.cadc_times}.")
    check_not_negative("the driver's drops", np.asarray(answer.drops), "events that did not get through")
    return answer


def _fitting(answer: Any, shapes: Any) -> Any:
    """The answer in the dtypes that are expected. Raises ValueError for other shapes, and for what is missing."""
    if jax.tree.structure(answer) != jax.tree.structure(shapes):
        raise ValueError(f"the driver must answer with {jax.tree.structure(shapes)}, not {jax.tree.structure(answer)}.")

    def fitting(path, given, wanted):
        name = jax.tree_util.keystr(path)[1:]
        if np.shape(given) != wanted.shape:
            raise ValueError(f"the driver's {name} must have the shape {wanted.shape}, but has {np.shape(given)}.")
        given = np.asarray(given, wanted.dtype)
        if np.any(np.isnan(given)):
            raise ValueError(f"the driver's {name} has NaN.")
        return given

    return jax.tree_util.tree_map_with_path(fitting, answer, shapes)


def _padded(answer: Answer, sizes: tuple[int, ...], slots: int) -> _Raw:
    """Spikes in order, with room for `slots` of each neuron; those that find none are drops."""
    drops, spikes = np.array(answer.drops, int), []
    for trains, size in zip(answer.spikes, sizes, strict=True):
        if trains is None:
            spikes.append(None)
            continue
        times, index = np.full((len(trains), size * slots), np.inf), np.zeros((len(trains), size * slots), int)
        for trial, train in enumerate(trains):
            t, i, _, lost = _kept(*train, size, slots)
            times[trial, : len(t)], index[trial, : len(t)] = t, i
            drops[trial] += lost
        spikes.append((times, index))
    return _Raw(tuple(spikes), answer.cadc, answer.cadc_times, answer.madc, drops)


def _kept(
    times: np.ndarray, index: np.ndarray, size: int, slots: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The first `slots` events of each neuron in order, which of its events each is, and how many are left out."""
    times, index = np.asarray(times, float), np.asarray(index, int)
    if times.ndim != 1 or times.shape != index.shape or np.any(np.isnan(times)):
        raise ValueError(
            f"the driver's spikes of a trial must be times that are no NaN and as many indices, but are {times} and "
            f"{index}."
        )
    order = np.argsort(times, kind="stable")
    times, index = times[order], index[order]
    if index.size and not (0 <= index.min() and index.max() < size):
        raise ValueError(f"the driver has spikes of neurons {index.min()} to {index.max()}, but there are {size}.")
    by_neuron = np.argsort(index, kind="stable")
    rank = np.empty_like(index)
    rank[by_neuron] = np.arange(index.size) - np.searchsorted(index[by_neuron], index[by_neuron])
    kept = rank < slots
    return times[kept], index[kept], rank[kept], int(np.sum(~kept))


def _whole(codes: Codes) -> Codes:
    """As NumPy's whole numbers."""
    return jax.tree.map(lambda x: np.rint(x).astype(int), codes)
