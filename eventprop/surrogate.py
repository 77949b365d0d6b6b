"""Surrogate gradients: a pseudo-derivative in the place of that of a step function."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from eventprop.adjoint import AbstractAdjoint
from eventprop.parameters import Parameter, check_positive, check_type, numeric


class AbstractPseudoDerivative(eqx.Module):
    """What stands for the derivative of the step function of a guard g, V - threshold of a LIF neuron, in its unit."""

    @abc.abstractmethod
    def __call__(self, guard: Float[Array, "..."]) -> Float[Array, "..."]:
        """dz/dg, where z is 1 for a spike and 0 for none."""


class SuperSpike(AbstractPseudoDerivative):
    """1 / (1 + alpha |g|)^2 (Zenke & Ganguli 2018)."""

    alpha: Parameter = eqx.field(converter=numeric("alpha"), default=10.0)

    def __check_init__(self):
        check_positive("alpha", self.alpha)

    def __call__(self, guard: Float[Array, "..."]) -> Float[Array, "..."]:
        return 1 / (1 + self.alpha * jnp.abs(guard)) ** 2


class Arctan(AbstractPseudoDerivative):
    """(alpha / 2) / (1 + (pi alpha g / 2)^2), the derivative of arctan(pi alpha g / 2) / pi (Fang et al. 2021)."""

    alpha: Parameter = eqx.field(converter=numeric("alpha"), default=2.0)

    def __check_init__(self):
        check_positive("alpha", self.alpha)

    def __call__(self, guard: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.alpha / 2 / (1 + (jnp.pi / 2 * self.alpha * guard) ** 2)


class Sigmoid(AbstractPseudoDerivative):
    """The derivative of the logistic function of alpha g: alpha / (4 cosh^2(alpha g / 2))."""

    alpha: Parameter = eqx.field(converter=numeric("alpha"), default=4.0)

    def __check_init__(self):
        check_positive("alpha", self.alpha)

    def __call__(self, guard: Float[Array, "..."]) -> Float[Array, "..."]:
        decay = jnp.exp(-self.alpha * jnp.abs(guard))
        return self.alpha * decay / (1 + decay) ** 2


class Triangular(AbstractPseudoDerivative):
    """height max(0, 1 - |g| / width) (Bellec et al. 2018, with a height of 0.3 and the threshold as the width)."""

    height: Parameter = eqx.field(converter=numeric("height"), default=0.3)
    width: Parameter = eqx.field(converter=numeric("width"), default=1.0)

    def __check_init__(self):
        check_positive("height", self.height)
        check_positive("width", self.width)

    def __call__(self, guard: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.height * jnp.maximum(1 - jnp.abs(guard) / self.width, 0)


class Surrogate(AbstractAdjoint):
    """Surrogate gradients through time, for `Grid`: spikes as 0 or 1 in each step, with a pseudo-derivative.

        z = step(g),    dz = derivative(g) dg,

    where g is the guard of the spike at the end of the step. The network itself is that of `Implicit`: only derivatives
    differ. Times of spikes have none; what carries them is `Solution.raster`, the potentials `Solution.ys`, and the
    state. Forward and reverse mode, first derivatives.

    derivative: `SuperSpike`, `Arctan`, `Sigmoid`, `Triangular`, or another `AbstractPseudoDerivative`.
    detach_reset: whether no derivative passes through a spike into the reset of its own neuron (Zenke & Vogels 2021
        find that it harms to let them pass).
    """

    derivative: AbstractPseudoDerivative = SuperSpike()
    detach_reset: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_type("derivative", self.derivative, AbstractPseudoDerivative)
