"""All-to-all synapses."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from eventprop.connections.base import AbstractConnection, check_delay, check_dimensions
from eventprop.connections.weight_rows import rows
from eventprop.parameters import Parameter, numeric, whole


class Dense(AbstractConnection):
    """All-to-all synapses: a spike of source i delivers weight[j, i] to neuron j.

    Rows are postsynaptic as in the paper's Table 1, whose columns of W are presynaptic; its w_ij elsewhere is i -> j.
    For `delay` see `AbstractConnection`; one per synapse is [neurons, sources].

    Lists and whole numbers become floats. Raises ValueError for other shapes, for precisions other than float32 and
    float64, and for negative delays.
    """

    weight: Float[Array, "neurons sources"] = eqx.field(converter=numeric("weight"))
    delay: Parameter | None = eqx.field(converter=numeric("delay"), default=None)
    port: int = eqx.field(static=True, default=0)

    def __check_init__(self):
        shape = () if isinstance(self.weight, float) else getattr(self.weight, "shape", None)
        if shape is not None and len(shape) != 2:
            raise ValueError(f"weight must be [neurons, sources], but has shape {shape}.")
        if shape is not None:
            check_delay(self)

    @classmethod
    def init(
        cls,
        sources: int,
        neurons: int,
        initialiser: Callable[[PRNGKeyArray, tuple[int, ...], Any], Array],
        *,
        key: PRNGKeyArray,
        delay: Any = None,
        port: int = 0,
        dtype: Any = None,
    ) -> "Dense":
        """Synapses with weights drawn by `initialiser`, e.g. `Dense.init(5, 200, Normal(1.5, 0.78), key=key)`.

        It is asked for the shape (sources, neurons), as those of `jax.nn.initializers` expect, and what it draws is
        transposed.
        """
        sources, neurons = whole("sources", sources, least=1), whole("neurons", neurons, least=1)
        dtype = jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype
        return cls(initialiser(key, (sources, neurons), dtype).T, delay=delay, port=port)

    @property
    def sources(self) -> int:
        """Number of presynaptic neurons."""
        return self.weight.shape[1]

    @property
    def neurons(self) -> int:
        """Number of postsynaptic neurons."""
        return self.weight.shape[0]

    def check_shapes(self, name: str) -> None:
        """Raise ValueError for weights with leading axes."""
        check_dimensions(name, self.weight, 2, "[neurons, sources]")

    def spread(self, synapses: Array, index: Int[Array, " events"]) -> Float[Array, "events neurons"]:
        """The columns of these sources."""
        return jnp.take(rows(synapses), index, axis=0, mode="clip")

    def project(self, spikes: Float[Array, "*batch sources"]) -> Float[Array, "*batch neurons"]:
        """A matrix product."""
        return spikes @ self.weight.T

    def table(self, index: Int[Array, " events"]) -> tuple[Float[Array, "sources neurons"], Int[Array, " events"]]:
        """The transposed weights: gathering columns takes ten times as long."""
        return rows(self.weight), index
