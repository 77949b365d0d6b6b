"""The neuron circuit of the chip, as a neuron of `eventprop`: any solver runs it that takes a vector field."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from eventprop import AbstractNeuron, Event
from eventprop.neurons.eif import upstroke
from eventprop.neurons.synapses import check_port
from eventprop.parameters import (
    Parameter,
    all_positive,
    as_arrays,
    check_finite_in,
    check_not_negative,
    check_positive,
    check_same_lengths_in,
    numeric,
)

CLAMPED, OPENING, OVER = 1000.0, 100.0, 0.2
"""LSB: how much lower the guard of a spike is while the membrane is clamped. LSB/µs: how fast it comes up to 0 at the
end of a hold-off. µs: how long it goes on so, which is how long a step of `Grid` may be for its chord to meet that
end; later it is V - threshold, however far an exponential has driven V."""


class Conductance(eqx.Module):
    """The factor of a conductance-based (COBA) input, (E_rev - V) / (E_rev - E_ref): 1 where V = E_ref.

    Both in LSB. It is an approximation of the circuit, whose current also ends at its largest one, and at the rails.
    """

    reversal: Parameter = eqx.field(converter=numeric("reversal"))
    reference: Parameter = eqx.field(converter=numeric("reference"))

    def __check_init__(self):
        check_finite_in(self, "reversal", "reference")

    def __call__(self, v: Array) -> Array:
        return (self.reversal - v) / (self.reversal - self.reference)


class Rail(eqx.Module):
    """The factor of an inhibitory current that fails towards the lower rail, 1 / (1 + exp((rail - V) / width)); LSB."""

    rail: Parameter = eqx.field(converter=numeric("rail"))
    width: Parameter = eqx.field(converter=numeric("width"))

    def __check_init__(self):
        check_positive("width", self.width)
        check_finite_in(self, "rail", "width")

    def __call__(self, v: Array) -> Array:
        return jax.nn.sigmoid((v - self.rail) / self.width)


class Receptor(eqx.Module):
    """A synaptic input of a circuit: tau_syn I' = -I, an event: I += w; into the membrane flows strength I kappa(V).

    tau_syn: µs. strength: LSB/µs per weight, negative for inhibition. kappa: `Conductance` (COBA), `Rail`, or None for
    1 (CUBA).
    """

    tau_syn: Parameter = eqx.field(converter=numeric("tau_syn"))
    strength: Parameter = eqx.field(converter=numeric("strength"))
    kappa: Conductance | Rail | None = None

    def __check_init__(self):
        check_positive("tau_syn", self.tau_syn)
        check_finite_in(self, "strength")

    def rate(self, i: Array, v: Array) -> Array:
        """What the input adds to dV/dt."""
        return self.strength * i if self.kappa is None else self.strength * i * self.kappa(v)


class Upstroke(eqx.Module):
    """The exponential current, sharpness exp((V - onset) / sharpness) / tau_mem; both in LSB."""

    onset: Parameter = eqx.field(converter=numeric("onset"))
    sharpness: Parameter = eqx.field(converter=numeric("sharpness"))

    def __check_init__(self):
        check_positive("sharpness", self.sharpness, "switch the exponential off for a sharp threshold")
        check_finite_in(self, "onset", "sharpness")


class Adaptation(eqx.Module):
    """tau w' = a (V - leak) - w, a spike: w += b. a: 1/µs; b and w: LSB/µs; tau: µs."""

    a: Parameter = eqx.field(converter=numeric("a"))
    b: Parameter = eqx.field(converter=numeric("b"))
    tau: Parameter = eqx.field(converter=numeric("tau"))

    def __check_init__(self):
        check_positive("tau", self.tau)
        check_finite_in(self, "a", "b")


class CircuitState(eqx.Module):
    """v: membrane potential, LSB; currents: of each receptor, weights; adaptation: LSB/µs, or None.

    `held` is 1 while the membrane is clamped after a spike, 0 else. `clock`: the time until the circuit may fire again;
    it goes on below 0.
    """

    v: Float[Array, " neurons"]
    currents: tuple[Float[Array, " neurons"], ...]
    adaptation: Float[Array, " neurons"] | None
    clock: Float[Array, " neurons"]
    held: Float[Array, " neurons"]


class Circuit(AbstractNeuron):
    """The adaptive exponential neuron circuit, in which all parts but the leak can be switched off (None).

        V' = (leak - V + sharpness exp((V - onset) / sharpness)) / tau_mem + sum of receptors - w + offset,
        V reaches threshold: spike, w += b, and for refractory - holdoff the membrane is clamped,
        V' = ... + (reset - V) / tau_reset, without the exponential. After another `holdoff` it may fire again.

    The potential is not set to its reset value, it goes there with tau_reset, against whatever else is connected to the
    membrane. Between events the field is smooth. `receptors` are the ports 0, 1, ...; all charges are positive, whether
    they excite is up to the receptor's strength.

    Times in µs, potentials in LSB, offset in LSB/µs. threshold: None for a circuit that does not spike. V starts at
    `leak`. Raises ValueError for times that are not positive, a negative hold-off, one as long as the refractory period
    or longer, parameters that are not finite (but time constants may be infinite), and per-neuron parameters of
    different lengths.
    """

    tau_mem: Parameter = eqx.field(converter=numeric("tau_mem"))
    leak: Parameter = eqx.field(converter=numeric("leak"))
    receptors: tuple[Receptor, ...]
    threshold: Parameter | None = eqx.field(converter=numeric("threshold"))
    reset: Parameter = eqx.field(converter=numeric("reset"))
    tau_reset: Parameter = eqx.field(converter=numeric("tau_reset"), default=0.5)
    refractory: Parameter = eqx.field(converter=numeric("refractory"), default=2.0)
    holdoff: Parameter = eqx.field(converter=numeric("holdoff"), default=0.0)
    offset: Parameter = eqx.field(converter=numeric("offset"), default=0.0)
    upstroke: Upstroke | None = None
    adaptation: Adaptation | None = None

    def __check_init__(self):
        for name in ("tau_mem", "tau_reset"):
            check_positive(name, getattr(self, name))
        check_finite_in(self, "leak", "threshold", "reset", "refractory", "offset")
        check_not_negative("holdoff", self.holdoff)
        check_positive("refractory - holdoff", self.refractory, "the clamp needs time", minus=self.holdoff)
        check_same_lengths_in(self)

    def init(self, neurons: int, dtype: Any = None) -> CircuitState:
        """At the leak potential, nothing has arrived."""
        dtype = jnp.result_type(float) if dtype is None else dtype
        zeros = jnp.zeros(neurons, dtype)
        v = jnp.broadcast_to(jnp.asarray(self.leak, dtype), (neurons,))
        adaptation = None if self.adaptation is None else zeros
        return CircuitState(v, tuple(zeros for _ in self.receptors), adaptation, zeros, zeros)

    def vector_field(self, t: Any, y: CircuitState, args: Any) -> CircuitState:
        """The equations above."""
        pull = self.leak - y.v
        if self.upstroke is not None:
            pull = pull + (1 - y.held) * upstroke(y.v, self.upstroke.onset, self.upstroke.sharpness)
        dv = pull / self.tau_mem + self.offset + y.held * ((self.reset - y.v) / self.tau_reset)
        for receptor, i in zip(self.receptors, y.currents, strict=True):
            dv = dv + receptor.rate(i, y.v)
        dw = None
        if self.adaptation is not None:
            assert y.adaptation is not None
            dv = dv - y.adaptation
            dw = (self.adaptation.a * (y.v - self.leak) - y.adaptation) / self.adaptation.tau
        di = tuple(-i / receptor.tau_syn for receptor, i in zip(self.receptors, y.currents, strict=True))
        return CircuitState(dv, di, dw, -jnp.ones_like(y.clock), jnp.zeros_like(y.held))

    @property
    def events(self) -> tuple[Event, ...]:
        """The spike, and the end of the clamp."""
        if self.threshold is None:
            return ()
        spike = Event(self._distance, self._fire, emits=True, unit=self._unit)
        return (spike, Event(self._open, self._release, emits=False))

    def _unit(self) -> Any:
        return self.tau_mem / jnp.abs(jnp.asarray(self.threshold) - self.reset)

    def _distance(self, t: Any, y: CircuitState, args: Any) -> Array:
        assert self.threshold is not None
        # The lesser of two is zero when both are over: a membrane above threshold fires as its hold-off ends.
        opening = jnp.where(y.clock > -OVER, -OPENING * y.clock, jnp.inf)
        return jnp.minimum(y.v - self.threshold - CLAMPED * y.held, opening)

    def _fire(self, t: Any, y: CircuitState, args: Any) -> CircuitState:
        adaptation = y.adaptation
        if self.adaptation is not None:
            assert adaptation is not None
            adaptation = adaptation + self.adaptation.b
        clock = jnp.broadcast_to(jnp.asarray(self.refractory, y.v.dtype), y.v.shape)
        return CircuitState(y.v, y.currents, adaptation, clock, jnp.ones_like(y.held))

    def _open(self, t: Any, y: CircuitState, args: Any) -> Array:
        return y.held * (self.holdoff - y.clock) - (1 - y.held)

    def _release(self, t: Any, y: CircuitState, args: Any) -> CircuitState:
        return CircuitState(y.v, y.currents, y.adaptation, y.clock, jnp.zeros_like(y.held))

    def receive(self, y: CircuitState, port: int, charge: Float[Array, " neurons"]) -> CircuitState:
        """I += charge at receptor `port`. Raises ValueError for a port that does not exist."""
        check_port(port, len(self.receptors), "Circuit")
        currents = (*y.currents[:port], y.currents[port] + charge, *y.currents[port + 1 :])
        return CircuitState(y.v, currents, y.adaptation, y.clock, y.held)

    def voltage(self, y: CircuitState) -> Float[Array, " neurons"]:
        """V."""
        return y.v

    def valid(self, y: CircuitState) -> Bool[Array, ""]:
        """Times are positive, hold-offs end before refractory periods, all is finite and phases are 0 or 1."""
        circuit = as_arrays("circuit", self, y.v.dtype)
        good = all_positive(circuit.tau_mem, circuit.tau_reset, circuit.refractory - circuit.holdoff)
        for receptor, i in zip(circuit.receptors, y.currents, strict=True):
            good &= all_positive(receptor.tau_syn) & jnp.all(jnp.isfinite(i))
        finite = jnp.isfinite(y.v) & jnp.isfinite(y.clock) & ((y.held == 0) | (y.held == 1))
        return good & jnp.all(finite) & (y.adaptation is None or jnp.all(jnp.isfinite(y.adaptation)))
