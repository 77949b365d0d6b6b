"""State and signals of networks of GLE neurons."""

from typing import NamedTuple

from gle.neurons import Rates


class State(NamedTuple):
    """Of each layer, from the bottom: membrane potentials u and potentials v of the error neurons."""

    u: tuple[Rates, ...]
    v: tuple[Rates, ...]


class Signals(NamedTuple):
    """What follows from a state, an input and a target, of each layer.

    - `rate`: r = phi(potential); `potential`: the prospective one, D+ u with tau_r;
    - `du`: u', and `dv`: v';
    - `error`: e (Eq. 19), and `instant`: e_inst (Eqs. 16-18). Zero below the lowest plastic layer;
    - `input` and `target` are those of the moment;
    - `noise`, `filtered`: of `Exploring`, the noise of each layer below the top, and the high-passed rates of all.
    """

    input: Rates
    potential: tuple[Rates, ...]
    rate: tuple[Rates, ...]
    du: tuple[Rates, ...]
    dv: tuple[Rates, ...]
    error: tuple[Rates, ...]
    instant: tuple[Rates, ...]
    target: Rates | None = None
    noise: tuple[Rates, ...] | None = None
    filtered: tuple[Rates, ...] | None = None

    @property
    def below(self) -> tuple[Rates, ...]:
        """The presynaptic rates of each layer."""
        return (self.input, *self.rate[:-1])

    @property
    def derivative(self) -> State:
        """Of the state."""
        return State(self.du, self.dv)

    @property
    def output(self) -> Rates:
        """The prospective potentials of the output neurons: with softmax outputs the logits."""
        return self.potential[-1]
