"""Is this gradient right, and if a difference disagrees, why? Analytic gradients beside finite differences."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from eventprop.adjoint import Implicit
from eventprop.network import AbstractNetwork
from eventprop.neurons.base import ClosedForm
from eventprop.parameters import AnyScalar, as_float
from eventprop.results import RESULTS
from eventprop.simulation import Solution, simulate
from eventprop.solvers.base import AbstractSolver, NetworkState
from eventprop.spikes import Spikes
from eventprop.voltage import voltage_path

_Loss = Callable[[Any, Spikes, Solution], Float[Array, ""]]
_STEPS = {np.dtype(np.float64): (1e-4, 1e-5, 1e-6), np.dtype(np.float32): (3e-2, 1e-2, 3e-3)}
_TOLERANCE = {np.dtype(np.float64): 1e-5, np.dtype(np.float32): 5e-2}


class LeafCheck(NamedTuple):
    """One array: the component that deviates most, its two derivatives, and their relative deviation.

    checked: components compared; lost: those "not to be shifted", for which every step led to a failed simulation or no
    finite loss (a delay or an input at 0, ...).
    """

    path: str
    shape: tuple[int, ...]
    checked: int
    lost: int
    index: tuple[int, ...]
    analytic: float
    differences: float
    deviation: float


class FlatSpike(NamedTuple):
    """A spike near tangency; slope: tau_mem V' / (threshold - reset), as `ClipSlope.minimum` counts it."""

    population: int
    neuron: int
    time: float
    slope: float


class BufferUse(NamedTuple):
    """How much room spikes took: those of a neuron of `max_spikes`, all together of `max_events` (None: no bound)."""

    population: int
    spikes: int
    max_spikes: int
    events: int
    max_events: int | None


class GradientCheck(NamedTuple):
    """What `check_gradients` found; `print` shows it as a table."""

    leaves: tuple[LeafCheck, ...]
    tolerance: float
    dtype: str
    flat: tuple[FlatSpike, ...]
    silent: tuple[tuple[int, ...], ...]
    buffers: tuple[BufferUse, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Paths of the leaves whose gradient disagrees with the differences."""
        return tuple(leaf.path for leaf in self.leaves if not leaf.deviation <= self.tolerance and leaf.checked)

    def __str__(self) -> str:
        width = max(len(leaf.path) for leaf in self.leaves) if self.leaves else 4
        lines = [
            f"{'leaf':{width}}  {'checked':>9}  {'worst at':>10}  {'analytic':>12}  {'differences':>12}  deviation"
        ]
        for leaf in self.leaves:
            place = ",".join(map(str, leaf.index))
            count = f"{leaf.checked}/{int(np.prod(leaf.shape))}"
            mark = "  <- WRONG" if leaf.path in self.wrong else ""
            lost = f"  ({leaf.lost} not to be shifted)" if leaf.lost else ""
            lines.append(
                f"{leaf.path:{width}}  {count:>9}  {place:>10}  {leaf.analytic:12.5g}  {leaf.differences:12.5g}  "
                f"{leaf.deviation:.1e}{mark}{lost}"
            )
        if self.dtype != "float64":
            lines.append(f"in {self.dtype} differences tell little: enable float64 (jax_enable_x64) for a sharp check")
        lines += [
            f"near tangency: layer {s.population}, neuron {s.neuron}, t = {s.time:.6g}, slope {s.slope:.2e}"
            for s in self.flat[:10]
        ]
        if len(self.flat) > 10:
            lines.append(f"near tangency: {len(self.flat) - 10} more")
        lines += [
            f"silent: {len(neurons)} neurons of layer {number}: {', '.join(map(str, neurons[:12]))}"
            + (", ..." if len(neurons) > 12 else "")
            for number, neurons in enumerate(self.silent)
            if neurons
        ]
        lines += [
            f"room: layer {b.population} used {b.spikes} of max_spikes = {b.max_spikes}, {b.events} of max_events = "
            f"{b.max_events}"
            for b in self.buffers
        ]
        return "\n".join(lines)


def check_gradients(
    network: AbstractNetwork,
    spikes: Spikes,
    t1: AnyScalar,
    loss: _Loss,
    *,
    solver: AbstractSolver,
    adjoint: Implicit = Implicit(),
    state: NetworkState | None = None,
    components: int = 12,
    tolerance: float | None = None,
    flat: float = 0.05,
    show: bool = True,
) -> GradientCheck:
    """Compare the gradient of a loss with central differences, leaf by leaf, and look for what makes them differ.

        def loss(network, spikes, solution):
            return jnp.sum(solution.spikes[-1].first())

        check_gradients(network, spikes, t1, loss, solver=Exact(max_spikes=8))

    Prints (unless `show=False`) and returns a table with every array of the network and the input times: the component
    that deviates most among `components` of the leaf (those with the largest gradients, and others spread over it), its
    derivative both ways, and the deviation relative to the larger one, or to a thousandth of the largest of the leaf
    where both are small. What the rounding of the loss alone can do is no deviation: 0 means none beyond that. Each
    component takes the best of three steps. Below: spikes whose slope is less than `flat`, in thresholds per membrane
    time constant, silent neurons, and how much of the solver's bounds is used.

    A deviation without a fault in any gradient: a spike appears, vanishes or changes places within a step. Then the
    loss jumps, and a spike near tangency is often to blame.

    **Arguments**

    - `network`, `spikes`, `t1`, `solver`, `adjoint`, `state`: as for `simulate`; one trial.
    - `loss`: a function of (network, spikes, solution) -> number, e.g. with `voltage_maximum` inside.
    - `tolerance`: deviation beyond which a leaf is called wrong; 1e-5 in float64, 0.05 in float32.

    Python floats of the network are constants, and not checked. Not for use under `jit`. Raises ValueError for a loss
    that is not finite.
    """

    def value(parameters: tuple[Any, Any], throw: bool) -> tuple[Array, Solution]:
        whole, times = eqx.combine(parameters[0], network), Spikes(parameters[1], spikes.index)
        solution = simulate(whole, times, t1, solver=solver, adjoint=adjoint, state=state, throw=throw)
        found = jnp.asarray(loss(whole, times, solution))
        return jnp.where(solution.result == RESULTS.successful, found, jnp.nan), solution

    times = jnp.asarray(as_float("spikes", spikes.times))
    parameters = (eqx.filter(network, eqx.is_inexact_array), times)
    (origin, solution), gradient = eqx.filter_jit(eqx.filter_value_and_grad(lambda p: value(p, True), has_aux=True))(
        parameters
    )
    if not np.all(np.isfinite(origin)):
        raise ValueError(
            f"loss is {origin}, and has no differences: give silent neurons a finite time, as in "
            "jnp.where(jnp.isfinite(t), t, t1)."
        )
    leaves, structure = jax.tree.flatten(parameters)
    evaluate = jax.jit(lambda points: jax.lax.map(lambda p: value(jax.tree.unflatten(structure, p), False)[0], points))
    named = jax.tree_util.tree_flatten_with_path(parameters)[0]
    dtype = np.dtype(solution.spikes[0].times.dtype if solution.spikes[0] is not None else leaves[0].dtype)
    limit = _TOLERANCE[dtype] if tolerance is None else tolerance
    checks = tuple(
        _check_leaf(_name(path), number, leaves, np.asarray(slopes), evaluate, components, _STEPS[dtype])
        for number, ((path, _), slopes) in enumerate(zip(named, jax.tree.leaves(gradient), strict=True))
        if np.size(slopes)
    )
    counts = [None if trains is None else np.asarray(trains.count()) for trains in solution.spikes]
    report = GradientCheck(
        checks,
        limit,
        dtype.name,
        _flat_spikes(network, spikes, solution, t1, state, flat),
        tuple(() if count is None else tuple(np.flatnonzero(count == 0).tolist()) for count in counts),
        _buffers(network, solver, solution, counts),
    )
    if show:
        print(report)
    return report


def _name(path: tuple[Any, ...]) -> str:
    """Where a leaf is: in the network, or the input times."""
    return "spikes.times" if path[0].idx == 1 else "network" + jax.tree_util.keystr(path[1:])


def _check_leaf(
    name: str,
    number: int,
    leaves: list[Array],
    slopes: np.ndarray,
    evaluate: Callable[[list[Array]], Array],
    components: int,
    steps: tuple[float, ...],
) -> LeafCheck:
    """Central differences of one leaf, all of its points in one call."""
    value = np.asarray(leaves[number])
    flat, analytic = value.reshape(-1), slopes.reshape(-1)
    usable = np.flatnonzero(np.isfinite(flat))
    if not usable.size:
        return LeafCheck(name, value.shape, 0, 0, (), 0.0, 0.0, 0.0)
    by_size = usable[np.argsort(-np.abs(analytic[usable]), kind="stable")]
    spread = usable[np.linspace(0, usable.size - 1, min(components, usable.size)).astype(int)]
    chosen = np.array(list(dict.fromkeys([*by_size[: (components + 1) // 2], *spread]))[:components])
    h = np.array(steps)[:, None] * np.maximum(np.abs(flat[chosen]), 1.0)
    points = np.repeat(flat[None], 2 * h.size, axis=0).reshape(*h.shape, 2, flat.size)
    for k, component in enumerate(chosen):
        points[:, k, :, component] += h[:, k, None] * np.array([1, -1])
    span = points[:, np.arange(chosen.size), 0, chosen] - points[:, np.arange(chosen.size), 1, chosen]
    # As many points for every leaf, so that all share one program.
    count = 2 * len(steps) * components
    batch = [jnp.broadcast_to(x, (count, *x.shape)) for x in leaves]
    batch[number] = jnp.asarray(np.resize(points, (count, *value.shape)))
    values = np.asarray(evaluate(batch), np.float64)[: 2 * h.size].reshape(*h.shape, 2)
    values = np.where(np.isfinite(values), values, np.nan)
    found = (values[..., 0] - values[..., 1]) / span
    # What the rounding of the loss alone can do is no error.
    rounding = 16 * np.finfo(value.dtype).eps * np.max(np.abs(values), axis=-1) / np.abs(span)
    errors = np.maximum(np.abs(found - analytic[chosen]) - rounding, 0)
    errors = np.where(np.isfinite(found), errors, np.inf)
    best = np.argmin(errors, axis=0)
    found, errors = found[best, np.arange(chosen.size)], np.min(errors, axis=0)
    known = np.isfinite(errors)
    if not np.any(known):
        return LeafCheck(name, value.shape, 0, int(chosen.size), (), 0.0, 0.0, 0.0)
    size = np.maximum(np.abs(analytic[chosen]), np.abs(np.where(known, found, 0)))
    scale = np.maximum(size, 1e-3 * np.max(size))
    deviation = np.where(known, errors, 0) / np.where(scale > 0, scale, 1)
    worst = int(np.argmax(deviation))
    place = tuple(int(x) for x in np.unravel_index(chosen[worst], value.shape))
    result = float(analytic[chosen[worst]]), float(found[worst]), float(deviation[worst])
    return LeafCheck(name, value.shape, int(np.sum(known)), int(np.sum(~known)), place, *result)


def _flat_spikes(
    network: AbstractNetwork, spikes: Spikes, solution: Solution, t1: Any, state: NetworkState | None, limit: float
) -> tuple[FlatSpike, ...]:
    """The spikes with a slope below the limit, flattest first."""
    found = []
    for number, (neuron, trains) in enumerate(zip(network.neurons, solution.spikes, strict=True)):
        if trains is None or not isinstance(neuron, ClosedForm):
            continue
        pieces = voltage_path(network, spikes, solution, t1, population=number, state=state).pieces
        begin, current = np.asarray(pieces.begin), np.asarray(pieces.i)
        size = current.shape[1]
        linear = neuron.closed_form(pieces.i.dtype)
        parameters = linear.membrane.tau_syn, linear.threshold, linear.reset, linear.bias
        tau_syn, threshold, reset, bias = (np.broadcast_to(np.asarray(x), (size,)) for x in parameters)
        for j, slot in np.argwhere(np.isfinite(np.asarray(trains.times))):
            time = float(trains.times[j, slot])
            piece = max(int(np.searchsorted(begin[:, j], time, side="left")) - 1, 0)
            i = current[piece, j] * np.exp(-(time - begin[piece, j]) / tau_syn[j])
            slope = float((i - threshold[j] + bias[j]) / (threshold[j] - reset[j]))
            if slope < limit:
                found.append(FlatSpike(number, int(j), time, slope))
    return tuple(sorted(found, key=lambda spike: spike.slope))


def _buffers(
    network: AbstractNetwork, solver: AbstractSolver, solution: Solution, counts: list[np.ndarray | None]
) -> tuple[BufferUse, ...]:
    heard = sorted({p.source for p in network.projections if p.source is not None})
    bounds = getattr(solver, "max_events", None)
    most = dict(zip(heard, bounds if isinstance(bounds, tuple) else (bounds,) * len(heard), strict=True))
    return tuple(
        BufferUse(number, int(np.max(count)), trains.times.shape[-1], int(np.sum(count)), most.get(number))
        for number, (trains, count) in enumerate(zip(solution.spikes, counts, strict=True))
        if trains is not None and count is not None
    )
