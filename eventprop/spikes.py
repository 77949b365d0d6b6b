"""Spike events: one sorted list for many sources (`Spikes`), or one list per neuron (`SpikeTrains`).

Both are padded to a fixed length with infinite times, so that trials with different numbers of spikes share one
compiled program. Leading axes are trials, or whatever else `jax.vmap` has put there.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from eventprop.failures import error_if
from eventprop.parameters import AnyScalar, as_float, check_scalars, check_type, is_concrete, numeric, whole


def bucket(events: int) -> int:
    """Smallest capacity of the series 8, 12, 16, 24, 32, 48, ... that holds `events` events.

    Two sizes per doubling: padding costs at most half of the events, and new lengths rarely recompile.
    """
    power = 8
    while power < events:
        power *= 2
    return 3 * power // 4 if power > 8 and events <= 3 * power // 4 else power


Occupied = tuple[Int[Array, "capacity"], Int[Array, ""]]
"""Flat positions [neuron, slot] of spikes (neurons * slots: none), and how many more there are."""


def _indices(value: Any) -> Any:
    if isinstance(value, list | tuple):
        value = np.asarray(value)
    if not isinstance(value, jax.Array | np.ndarray):
        return value
    if value.size and not jnp.issubdtype(value.dtype, jnp.integer):
        raise ValueError(f"Spikes: index must hold integers, got {value.dtype}; convert it with .astype(int)")
    _check_sources(value)
    return jnp.asarray(value, None if jnp.issubdtype(value.dtype, jnp.integer) else jnp.int32)


class Spikes(eqx.Module):
    """The events of one trial in the order of their times: at `times[k]` the source `index[k]` spikes.

    - `times`: ascending and not negative; padded at the end with `inf`, which means no event.
    - `index`: the source neuron of each event; 0 at padding.

    Both are [events], with leading axes for a batch of trials. This constructor looks at shapes and types alone, and
    works on traced arrays: it raises `ValueError` for shapes that differ, times that are neither whole numbers nor
    float32 or float64, and an index that is not whole. Data come in through `from_events`, `from_trains`
    and `from_raster`, which check the values, and leave through `to_events` and `to_raster`.
    """

    times: Float[Array, "*batch events"] = eqx.field(converter=numeric("Spikes.times"))
    index: Int[Array, "*batch events"] = eqx.field(converter=_indices)

    def __check_init__(self):
        times, index = np.shape(self.times), np.shape(self.index)
        if len(times) < 1 or times != index:
            raise ValueError(
                f"Spikes: times and index must both have the shape [events], or both that of a batch, "
                f"[..., events], got {times} and {index}; Spikes.stack joins trials of different lengths"
            )

    @staticmethod
    def from_events(times: ArrayLike | Sequence, index: ArrayLike | Sequence, capacity: int | None = None) -> "Spikes":
        """Events from two lists of the same length, sorted by time, padded to `capacity` (default: the next `bucket`).

        Raises `ValueError` for times that are unsorted, negative, NaN or infinite, for negative or fractional indices,
        and for a capacity that does not hold all events.
        """
        times, index = np.asarray(times, dtype=float), np.asarray(index)
        if times.ndim != 1 or times.shape != index.shape:
            raise ValueError(
                f"times and index must be vectors of the same length, got shapes {times.shape} and {index.shape}"
            )
        if index.size and not np.issubdtype(index.dtype, np.integer):
            raise ValueError(f"index must hold integers, got {index.dtype}; convert it with index.astype(int)")
        if np.any(index < 0):
            raise ValueError(f"index must not be negative, got {index.min()}; number the sources from 0")
        _check_sources(index)
        _check_times("times", times)
        return _padded(times, index, capacity)

    @staticmethod
    def from_trains(trains: Sequence[ArrayLike | Sequence], capacity: int | None = None) -> "Spikes":
        """Events from a ragged list, `trains[i]` being the sorted spike times of source i.

        Coincident events are in the order of their sources. Raises `ValueError` as `from_events` does.
        """
        arrays = [np.asarray(train, dtype=float) for train in trains]
        for source, train in enumerate(arrays):
            if train.ndim != 1:
                raise ValueError(f"trains[{source}] must be a vector of spike times, got shape {train.shape}")
            _check_times(f"trains[{source}]", train)
        times = np.concatenate([np.empty(0), *arrays])
        index = np.repeat(np.arange(len(arrays)), [train.size for train in arrays])
        order = np.argsort(times, kind="stable")
        return _padded(times[order], index[order], capacity)

    @staticmethod
    def from_raster(raster: ArrayLike | Sequence, dt: AnyScalar, capacity: int | None = None) -> "Spikes":
        """Events from counts per time bin: `raster[step, neuron]` events at the bin's centre, (step + 1/2) dt.

        Raises `ValueError` for counts that are negative or fractional, and for a `dt` that is not positive.
        """
        counts = np.asarray(raster)
        _check_dt(dt)
        if counts.ndim != 2:
            raise ValueError(f"raster must have the shape [steps, neurons], got {counts.shape}")
        good = (counts >= 0) & (counts == np.floor(counts)) & np.isfinite(counts)
        if not np.all(good):
            raise ValueError(f"raster must hold spike counts (0, 1, 2, ...), got {counts[~good][0]}; round or clip it")
        steps, neurons = np.nonzero(counts)
        repeats = counts[steps, neurons].astype(int)
        times = np.repeat((steps + 0.5) * float(dt), repeats)
        _check_times("raster * dt", times)
        return _padded(times, np.repeat(neurons, repeats), capacity)

    @staticmethod
    def stack(trials: Sequence["Spikes"]) -> "Spikes":
        """A batch for `jax.vmap`: the trials padded to the largest capacity among them, with a new leading axis."""
        trials = list(trials)
        if not trials:
            raise ValueError("trials must hold at least one Spikes, got an empty list")
        for trial in trials:
            check_type("each of trials", trial, Spikes)
        axes = {trial.times.shape[:-1] for trial in trials}
        if len(axes) > 1:
            raise ValueError(f"trials must have the same leading axes, got {sorted(axes)}; stack single trials")
        capacity = max(trial.times.shape[-1] for trial in trials)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(trial.pad(capacity) for trial in trials))

    def pad(self, capacity: int) -> "Spikes":
        """The same events with room for `capacity` of them. Raises `ValueError` if there is less room than now."""
        extra = whole("capacity", capacity) - self.times.shape[-1]
        if extra < 0:
            raise ValueError(f"capacity must be at least the present one, {self.times.shape[-1]}, got {capacity}")
        width = [(0, 0)] * (self.times.ndim - 1) + [(0, extra)]
        return Spikes(jnp.pad(self.times, width, constant_values=jnp.inf), jnp.pad(self.index, width))

    def count(self) -> Int[Array, "*batch"]:
        """The number of events of each trial."""
        return jnp.sum(_present(self.times), axis=-1, dtype=jnp.int32)

    def to_events(self) -> tuple[np.ndarray, np.ndarray]:
        """Times and indices as NumPy arrays, without the padding."""
        times, index = np.asarray(self.times), np.asarray(self.index)
        if times.ndim != 1:
            raise ValueError(f"to_events takes one trial, got a batch of shape {times.shape}; select a trial first")
        return times[times != np.inf], index[times != np.inf]

    def to_raster(self, neurons: int, dt: AnyScalar, steps: int) -> Int[Array, "*batch steps neurons"]:
        """Counts per time bin: entry [step, neuron] counts the events with step dt <= time < (step + 1) dt.

        An event later than `steps` bins or from a source beyond `neurons` is an error, never dropped, as is one before
        time 0 and a traced `dt` that is not positive.
        """
        _check_dt(dt)
        neurons, steps = whole("neurons", neurons), whole("steps", steps)
        if self.times.ndim > 1:
            return jax.vmap(lambda trial: trial.to_raster(neurons, dt, steps))(self)
        present = _present(self.times)
        width = jnp.asarray(dt, self.times.dtype)
        inside = (self.times >= 0) & (self.times < steps * width) & (self.index >= 0) & (self.index < neurons)
        # The quotient is rounded, across a bin's edge where the time is close to one.
        step = jnp.where(present & inside, jnp.floor(self.times / width), 0)
        step = step - (self.times < step * width) + (self.times >= (step + 1) * width)
        message = "Spikes.to_raster: a spike lies outside the raster; raise steps or neurons, or correct the spikes"
        step = error_if(step.astype(jnp.int32), present & ~inside, message)
        step = error_if(step, ~((width > 0) & (width < jnp.inf)), "Spikes.to_raster: dt must be a positive time step")
        counts = jnp.zeros((steps, neurons), jnp.int32)
        return counts.at[step, self.index].add(present.astype(jnp.int32), mode="drop")


class SpikeTrains(eqx.Module):
    """The spike times of each neuron of a layer: every row ascending, padded at its end with `inf` (no spike).

    Leading axes are trials, or whatever else `jax.vmap` has put in front of [neurons, slots].
    """

    times: Float[Array, "*batch neurons slots"] = eqx.field(converter=numeric("SpikeTrains.times"))

    def __check_init__(self):
        shape = np.shape(self.times)
        if len(shape) < 2 or shape[-1] == 0:
            raise ValueError(
                f"SpikeTrains: times must have the shape [..., neurons, slots] with slots >= 1, got {shape}"
            )

    def first(self) -> Float[Array, "*batch neurons"]:
        """The time of each neuron's first spike; `inf` if it is silent."""
        return self.times[..., 0]

    def count(self) -> Int[Array, "*batch neurons"]:
        """The number of spikes of each neuron."""
        return jnp.sum(_present(self.times), axis=-1, dtype=jnp.int32)

    def silent(self) -> Bool[Array, "*batch neurons"]:
        """Whether each neuron has no spike at all."""
        return ~_present(self.times[..., 0])

    def merge(
        self, capacity: int | None = None, occupied: Occupied | None = None
    ) -> tuple[Spikes, Int[Array, "*batch"]]:
        """All trains as one sorted list of at most `capacity` events (default: all slots), and how many did not fit.

        Coincident spikes are in the order of their neurons, then of their slots. If there are more than `capacity`
        spikes, the latest ones are lost. Times are differentiable: tangents follow the permutation. `occupied`: the
        `occupied_slots` for this capacity, if they are known already.
        """
        if self.times.ndim > 2:
            return jax.vmap(lambda trains, occupied: trains.merge(capacity, occupied))(self, occupied)
        neurons, slots = self.times.shape
        total = neurons * slots
        capacity = total if capacity is None else min(whole("capacity", capacity, least=1), total)
        fixed = lax.stop_gradient(self.times)
        occupied = occupied_slots(fixed, capacity) if occupied is None else occupied
        order, lost = _merge_order(fixed, *occupied, capacity)
        times = self.times.reshape(total).at[order].get(mode="fill", fill_value=jnp.inf)
        return Spikes(times, jnp.where(order < total, order // slots, 0)), lost


def _merge_order(
    times: Float[Array, "neurons slots"], position: Int[Array, "capacity"], lost: Int[Array, ""], capacity: int
) -> Occupied:
    """Flat positions of the `capacity` earliest spikes in order (neurons * slots: none), and the number beyond them.

    Sorting is the dear part, and most slots are empty. So only the occupied ones at `position` are sorted.
    """
    neurons, slots = times.shape
    flat = times.reshape(neurons * slots)
    order = sorted_positions(flat.at[position].get(mode="fill", fill_value=jnp.inf), position)
    if capacity == neurons * slots:
        return order, lost

    # Too many spikes: only a sort of all slots tells the earliest. A loop of at most one turn, because under vmap a
    # `lax.cond` would always pay for both branches; it reads its carry, or XLA would move the sort out of the loop.
    def sort_all(carry):
        spikes = jnp.where(carry[1], flat, jnp.inf)
        return sorted_positions(spikes, lax.iota(jnp.int32, neurons * slots))[:capacity], jnp.zeros_like(carry[1])

    order, _ = lax.while_loop(lambda carry: carry[1], sort_all, (order, lost > 0))
    return order, lost


def occupied_slots(times: Float[Array, "neurons slots"], capacity: int) -> Occupied:
    """Flat positions of the first `capacity` spikes, neuron by neuron (neurons * slots: none), and how many more."""
    neurons, slots = times.shape
    counts = jnp.sum(_present(times), axis=1, dtype=jnp.int32)
    ends = jnp.cumsum(counts)
    starts = ends - counts
    place = lax.iota(jnp.int32, capacity)
    # A place belongs to the last neuron whose spikes start at it or before it.
    neuron = jnp.cumsum(jnp.zeros(capacity, jnp.int32).at[starts[1:]].add(1, mode="drop"))
    position = jnp.where(place < ends[-1], neuron * slots + place - starts[neuron], neurons * slots)
    return position, jnp.maximum(ends[-1] - capacity, 0)


def sorted_positions(times: Float[Array, "events"], positions: Int[Array, "events"]) -> Int[Array, "events"]:
    """`positions` in the order of their times, coincident ones ascending."""
    if times.dtype != jnp.float32:
        return lax.sort((times, positions), num_keys=2)[1]
    # XLA sorts one integer key several times faster than floats or pairs. The bits of a float that is not negative are
    # ordered like the number (abs clears the sign of -0), so time and position are glued into one 64-bit key. Gluing by
    # bitcast leaves no 64-bit constant in the program, which a later transformation in 32-bit mode could truncate.
    key = jnp.stack([positions.astype(jnp.uint32), lax.bitcast_convert_type(jnp.abs(times), jnp.uint32)], axis=-1)
    with jax.enable_x64(True):
        key = lax.sort(lax.bitcast_convert_type(key, jnp.uint64), is_stable=False)
        key = lax.bitcast_convert_type(key, jnp.uint32)
    return key[:, 0].astype(jnp.int32)


def _present(times: Float[Array, "..."]) -> Bool[Array, "..."]:
    # Not `times < inf`: a NaN must stay visible, not turn into a missing spike.
    return times != jnp.inf


def _check_times(name: str, times: np.ndarray) -> None:
    good = (times >= 0) & (times <= jnp.finfo(jnp.result_type(float)).max)
    if not np.all(good):
        at = int(np.argmin(good))
        raise ValueError(f"{name}[{at}] = {times[at]}, but a spike time must be finite and >= 0; remove such events")
    falls = np.diff(times) < 0
    if np.any(falls):
        at = int(np.argmax(falls)) + 1
        raise ValueError(f"{name}[{at}] = {times[at]} comes after {times[at - 1]}; sort the events by time")


def _check_dt(dt: AnyScalar) -> None:
    check_scalars(dt=as_float("dt", dt))
    if is_concrete(dt) and not 0 < float(dt) < np.inf:
        raise ValueError(f"dt must be a positive time step, got {dt}")


def _check_sources(index: Any) -> None:
    """Raise ValueError for what JAX's whole numbers would wrap to other sources."""
    most = jnp.iinfo(jnp.int32).max
    if isinstance(index, np.ndarray) and index.size and index.max() > most:
        raise ValueError(f"index must number sources up to {most}, got {index.max()}; number the sources from 0")


def _padded(times: np.ndarray, index: np.ndarray, capacity: int | None) -> Spikes:
    """Checked events as `Spikes` in JAX's default precision."""
    capacity = bucket(times.size) if capacity is None else whole("capacity", capacity)
    if times.size > capacity:
        raise ValueError(f"capacity = {capacity} is too small for {times.size} events; leave it out or raise it")
    extra = (0, capacity - times.size)
    padded = jnp.asarray(np.pad(times, extra, constant_values=np.inf), dtype=float)
    return Spikes(padded, jnp.asarray(np.pad(index, extra), dtype=jnp.int32))
