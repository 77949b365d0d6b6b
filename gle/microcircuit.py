"""The dendritic microcircuit (Sacramento et al. 2018), with prospective neurons where wanted (Haider et al. 2021)."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from gle.activations import as_activation
from gle.arrays import as_float
from gle.circuit import CircuitSignals, CircuitState, Conductances, Rates, check_circuit, positive
from gle.connections import Dense
from gle.feedback import AbstractFeedback, FeedbackAlignment
from gle.operators import LeadLag
from gle.results import raise_if
from gle.system import AbstractSystem


class Microcircuit(AbstractSystem):
    """Layers of pyramidal cells P with an interneuron I for each pyramidal cell of the layer above.

        v_bas = W r_below          v_api = B^T r_above + L^PI r^I          v_den = L^IP r
        u^P' = g_b v_bas + g_a v_api - (g_l + g_b + g_a) u^P
        u^I' = g_d v_den + g_s u~_above - (g_l + g_d + g_s) u^I
        top: u' = g_b v_bas + g_s target - (g_l + g_b + g_s) u, without a target g_s = 0
        r = phi(u~),   u~ = u + u' / g_tot with prospective coding (latent equilibrium), else u~ = u

        W' = [phi(u~^P) - phi(g_b v_bas / g*)] r_below^T     g* = g_l + g_b + g_a, at the top g_l + g_b
        L^IP' = [phi(u~^I) - phi(g_d v_den / (g_l + g_d))] r^T           L^PI' = -v_api r^I^T

    Potentials arrive at the neighbours through a low-pass of time constant `delay`. In Euler steps of dt = delay they
    are those of the step before, as in the authors' code. Targets are potentials.

    - `up`: W of each layer from the bottom; `to_inter`, `from_inter`: L^IP and L^PI of each layer but the top;
    - `feedback`: B, of each layer but the lowest, as it leads to the layer below. B may be fixed
        (`FeedbackAlignment`), W (`Transpose`), or learn (`KolenPollack`; `gle.phaseless`, `sal.align`).

    `plasticity` returns minus these right-hand sides, so `optax.sgd(eta dt)` learns with the rate eta.

    Raises ValueError for connections that do not fit together, and for conductances and a delay that are not positive.
    """

    up: tuple[Dense, ...]
    to_inter: tuple[Dense, ...]
    from_inter: tuple[Dense, ...]
    feedback: tuple[AbstractFeedback, ...]
    activation: Callable[[Array], Array]
    conductances: Conductances
    delay: float | Array
    prospective: bool = eqx.field(static=True)
    noise: tuple[Rates, ...] | None

    def __init__(
        self,
        up: Iterable[Dense],
        to_inter: Iterable[Dense],
        from_inter: Iterable[Dense],
        feedback: Iterable[AbstractFeedback],
        activation: Callable[[Array], Array],
        *,
        conductances: Conductances = Conductances(),
        delay: ArrayLike = 0.1,
        prospective: bool = True,
    ):
        self.up, self.to_inter, self.from_inter = tuple(up), tuple(to_inter), tuple(from_inter)
        self.feedback, self.conductances = tuple(feedback), conductances
        self.delay, self.prospective, self.noise = positive("delay")(delay), prospective, None
        check_circuit(self.up, self.to_inter, self.from_inter, self.feedback)
        self.activation = as_activation(activation, self.outputs)

    @classmethod
    def self_predicting(
        cls,
        up: Iterable[Dense],
        feedback: Iterable[AbstractFeedback],
        activation: Callable[[Array], Array],
        **options: Any,
    ) -> "Microcircuit":
        """A circuit whose interneurons predict the layer above, so that v_api = 0 wherever there is no target.

        L^IP = W_above g_b (g_l + g_d) / (g_d g*_above),        L^PI = -B^T
        """
        up, feedback, g = tuple(up), tuple(feedback), options.get("conductances", Conductances())
        to_inter, from_inter = [], []
        for number, (above, back) in enumerate(zip(up[1:], feedback, strict=True), start=1):
            total = g.leak + g.basal + (g.apical if number + 1 < len(up) else 0)
            factor = g.basal * (g.leak + g.dendritic) / (g.dendritic * total)
            to_inter.append(jax.tree.map(lambda x, factor=factor: factor * x, above))
            basis = jnp.eye(above.neurons, dtype=above.weight.dtype)
            arriving = back.backward(above, basis, jnp.zeros((above.neurons, above.sources), basis.dtype))
            from_inter.append(Dense(-arriving.T, None))
        return cls(up, to_inter, from_inter, feedback, activation, **options)

    @classmethod
    def draw(
        cls,
        sizes: Sequence[int],
        activation: Callable[[Array], Array],
        *,
        key: PRNGKeyArray,
        bound: float = 1.0,
        **options: Any,
    ) -> "Microcircuit":
        """All weights of all four kinds uniform within +-bound, no biases; B by `FeedbackAlignment`."""

        def drawn(pairs, key):
            keys = jax.random.split(key, len(pairs))
            weights = [
                jax.random.uniform(k, pair, minval=-bound, maxval=bound) for k, pair in zip(keys, pairs, strict=True)
            ]
            return [Dense(weight, None) for weight in weights]

        keys = jax.random.split(key, 4)
        shapes = [(neurons, sources) for sources, neurons in itertools.pairwise(sizes)]
        up, to_inter = drawn(shapes, keys[0]), drawn(shapes[1:], keys[1])
        from_inter = drawn([shape[::-1] for shape in shapes[1:]], keys[2])
        feedback = [FeedbackAlignment(connection) for connection in drawn(shapes[1:], keys[3])]
        return cls(up, to_inter, from_inter, feedback, activation, **options)

    @property
    def sources(self) -> int:
        """Number of inputs."""
        return self.up[0].sources

    @property
    def outputs(self) -> int:
        """Number of pyramidal cells at the top."""
        return self.up[-1].neurons

    def init(self, batch: tuple[int, ...] = (), dtype: Any = None) -> CircuitState:
        """All potentials zero."""
        dtype = self.up[0].weight.dtype if dtype is None else dtype
        zeros = tuple(jnp.zeros((*batch, connection.neurons), dtype) for connection in self.up)
        return CircuitState(zeros, zeros[1:], zeros, zeros[1:])

    def time_constants(self) -> tuple[Array, ...]:
        """Of the somata of hidden and output pyramidal cells and interneurons, and the delay."""
        g = self.conductances
        totals = (g.leak + g.basal + g.apical, g.leak + g.basal + g.somatic, g.leak + g.dendritic + g.somatic)
        return (*(jnp.asarray(1 / total) for total in totals), jnp.asarray(self.delay))

    def signals(
        self, state: CircuitState, input: Rates, target: Rates | None = None, *, throw: bool = True
    ) -> CircuitSignals:
        """Everything at this moment."""
        del throw
        g, top = self.conductances, len(self.up) - 1
        sent = tuple(self.activation(u) for u in state.sent)
        sent_inter = tuple(self.activation(u) for u in state.sent_inter)
        below = (input, *sent[:-1])
        basal = tuple(connection(r) for connection, r in zip(self.up, below, strict=True))
        apical, dendritic, cells, inters, predicted, predicted_inter = [], [], [], [], [], []
        for number in range(top):
            above, back = self.up[number + 1], self.feedback[number]
            lateral = self.from_inter[number](sent_inter[number])
            apical.append(back.backward(above, sent[number + 1], sent[number]) + lateral)
            exciting = apical[-1] if self.noise is None else apical[-1] + self.noise[number]
            total = g.leak + g.basal + g.apical
            drive = g.basal * basal[number] + g.apical * exciting
            cells.append(self._soma(state.pyramidal[number], drive, total))
            predicted.append(g.basal / total * basal[number])
            dendritic.append(self.to_inter[number](sent[number]))
            drive = g.dendritic * dendritic[-1] + g.somatic * state.sent[number + 1]
            inters.append(self._soma(state.inter[number], drive, g.leak + g.dendritic + g.somatic))
            predicted_inter.append(g.dendritic / (g.leak + g.dendritic) * dendritic[-1])
        nudged, total = g.basal * basal[top], g.leak + g.basal
        predicted.append(nudged / total)
        if target is not None:
            nudged, total = nudged + g.somatic * target, total + g.somatic
        cells.append(self._soma(state.pyramidal[top], nudged, total))
        changes, potential = zip(*cells, strict=True)
        inter_changes, inter = zip(*inters, strict=True) if inters else ((), ())
        rate, inter_rate = (tuple(self.activation(u) for u in us) for us in (potential, inter))
        arriving = tuple((u - old) / self.delay for u, old in zip(potential, state.sent, strict=True))
        arriving_inter = tuple((u - old) / self.delay for u, old in zip(inter, state.sent_inter, strict=True))
        return CircuitSignals(
            CircuitState(changes, inter_changes, arriving, arriving_inter),
            below,
            sent,
            sent_inter,
            potential,
            inter,
            rate,
            inter_rate,
            basal,
            tuple(apical),
            tuple(dendritic),
            tuple(r - self.activation(v) for r, v in zip(rate, predicted, strict=True)),
            tuple(r - self.activation(v) for r, v in zip(inter_rate, predicted_inter, strict=True)),
            target,
        )

    def _soma(self, u: Rates, drive: Rates, total: Any) -> tuple[Rates, Rates]:
        """(u', u~) of a leaky soma that the conductances of its compartments drive."""
        lag = jnp.full(u.shape[-1], 1 / total, u.dtype)
        return LeadLag(lag, lag if self.prospective else jnp.zeros_like(lag)).flow(u, drive / total)

    def equilibrium(self, input: Rates, target: Rates | None = None, *, throw: bool = True) -> CircuitState:
        """The state in which a constant input and target leave the circuit, by sweeps over all layers.

        Raises, or with throw=False is NaN, where the loop of pyramidal cells and interneurons has none that is stable.
        """
        input, target = as_float("input", input), as_float("target", target)
        start = self.init(input.shape[:-1])
        tolerance = 100 * float(jnp.finfo(start.sent[0].dtype).eps)
        instant = Microcircuit(
            self.up, self.to_inter, self.from_inter, self.feedback, self.activation, conductances=self.conductances
        )

        def sweep(sent, _):
            state = start._replace(sent=sent[0], sent_inter=sent[1])
            signals = instant.signals(state, input, target)
            return signals.potential, signals.inter

        found = optimistix.fixed_point(
            sweep,
            optimistix.FixedPointIteration(tolerance, tolerance),
            (start.sent, start.sent_inter),
            max_steps=1000,
            throw=False,
        )
        missed = found.result != optimistix.RESULTS.successful
        sent = jax.tree.map(lambda x: jnp.where(missed, jnp.nan, x), found.value)
        if throw:
            sent = raise_if(sent, missed, _UNSTABLE)
        return CircuitState(sent[0], sent[1], sent[0], sent[1])

    def plasticity(self, signals: CircuitSignals) -> "Microcircuit":
        """Minus the right-hand sides of the four kinds of synapses, as a circuit of gradients."""
        zeros = jax.tree.map(jnp.zeros_like, eqx.filter(self, eqx.is_inexact_array))
        up = _gradients(self.up, signals.error, signals.below)
        to_inter = _gradients(self.to_inter, signals.inter_error, signals.sent[:-1])
        from_inter = _gradients(self.from_inter, tuple(-v for v in signals.apical), signals.sent_inter)
        feedback = tuple(back.gradient(forward) for back, forward in zip(self.feedback, up[1:], strict=True))
        return eqx.tree_at(_synapses, zeros, (up, to_inter, from_inter, feedback))

    def synapses(self, signals: CircuitSignals) -> dict[str, PyTree]:
        """`pre`, `post` and `error` at each weight, as in `Network.synapses`; B has the shape and signals of W.

        Under `Exploring` also `noise` and `filtered` at each B: of the layer that B leads to [*batch, sources], and of
        the layer that it comes from [*batch, neurons].
        """
        up = (signals.below, signals.rate, signals.error)
        to_inter = (signals.sent[:-1], signals.inter_rate, signals.inter_error)
        minus = tuple(-v for v in signals.apical)
        from_inter = (signals.sent_inter, signals.apical, minus)

        def at_weights(values: dict[str, tuple[Rates, ...]]) -> PyTree:
            def put(path: Any, _: Any) -> Rates | None:
                part = values.get(path[0].name, ())
                return part[path[1].idx] if part and getattr(path[-1], "name", None) == "weight" else None

            return jax.tree_util.tree_map_with_path(put, eqx.filter(self, eqx.is_inexact_array))

        trees = {}
        for number, name in enumerate(("pre", "post", "error")):
            above = up[number][1:]
            at = {"up": up[number], "to_inter": to_inter[number], "from_inter": from_inter[number], "feedback": above}
            trees[name] = at_weights(at)
        if signals.noise is not None and signals.filtered is not None:
            trees["noise"] = at_weights({"feedback": signals.noise})
            trees["filtered"] = at_weights({"feedback": signals.filtered[1:]})
        return trees

    def loss(self, signals: CircuitSignals) -> Float[Array, ""]:
        """1/2 sum (target - u~)^2 of the outputs, averaged over the batch; zero without a target."""
        if signals.target is None:
            return jnp.zeros((), signals.output.dtype)
        return jnp.mean(0.5 * jnp.sum((signals.target - signals.output) ** 2, axis=-1))


_UNSTABLE = (
    "The microcircuit has no stable state: the loop through apical dendrites and interneurons amplifies. Start from "
    "gle.Microcircuit.self_predicting, or lower the weights or the learning rates."
)


def circuit_labels(circuit: Microcircuit) -> PyTree:
    """For `optax.partition`: "up.0", "to_inter.0", "from_inter.0", "feedback.0" and so on, and "fixed" for the rest.

    optax.partition({"up.0": optax.sgd(0.5 * dt), "up.1": optax.sgd(0.1 * dt), ...}, gle.circuit_labels)
    """
    kinds = ("up", "to_inter", "from_inter", "feedback")

    def label(path: Any, _: Any) -> str:
        return f"{path[0].name}.{path[1].idx}" if path[0].name in kinds else "fixed"

    return jax.tree_util.tree_map_with_path(label, eqx.filter(circuit, eqx.is_inexact_array))


def _synapses(circuit: Microcircuit) -> tuple[Any, ...]:
    return circuit.up, circuit.to_inter, circuit.from_inter, circuit.feedback


def _gradients(connections: Sequence[Dense], errors: Sequence[Rates], rates: Sequence[Rates]) -> tuple[Any, ...]:
    return tuple(c.gradient(error, r) for c, error, r in zip(connections, errors, rates, strict=True))
