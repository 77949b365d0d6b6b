"""Synapses to a few neurons each."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from eventprop.connections.base import AbstractConnection, check_delay, check_dimensions
from eventprop.parameters import Parameter, is_concrete, numeric, whole


class Sparse(AbstractConnection):
    """A list of targets for every source: a spike of source i delivers weight[i, k] to neuron target[i, k].

    Rows are presynaptic here, since an event reads one of them. Entries whose target is `size`, the number of
    neurons, or more are empty, for sources with fewer targets than others. One delay per synapse has the shape of the
    weight.

    Raises ValueError for other shapes, targets below 0, a target that stands twice in a row, and negative delays.
    """

    weight: Float[Array, "sources targets"] = eqx.field(converter=numeric("weight"))
    target: Int[Array, "sources targets"]
    size: int = eqx.field(static=True)
    delay: Parameter | None = eqx.field(converter=numeric("delay"), default=None)
    port: int = eqx.field(static=True, default=0)

    def __check_init__(self):
        shape = getattr(self.weight, "shape", None)
        if shape is None:
            return
        if len(shape) != 2 or np.shape(self.target) != shape:
            raise ValueError(
                f"weight and target must both be [sources, targets], but have the shapes {shape} and "
                f"{np.shape(self.target)}."
            )
        if is_concrete(self.target):
            _check_targets(np.asarray(self.target), self.size)
        check_delay(self)

    @classmethod
    def init(
        cls,
        sources: int,
        neurons: int,
        targets: int,
        initialiser: Callable[[PRNGKeyArray, tuple[int, ...], Any], Array],
        *,
        key: PRNGKeyArray,
        dtype: Any = None,
        **options: Any,
    ) -> "Sparse":
        """Every source gets `targets` different neurons, drawn at random; weights drawn by `initialiser`."""
        sources, neurons = whole("sources", sources, least=1), whole("neurons", neurons, least=1)
        targets = whole("targets", targets, least=1)
        dtype = jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype
        draw, choose = jax.random.split(key)

        def one(key):
            return jax.random.choice(key, neurons, (targets,), replace=False)

        target = jax.lax.map(one, jax.random.split(choose, sources)).astype(jnp.int32)
        return cls(initialiser(draw, (sources, targets), dtype), target, neurons, **options)

    @property
    def sources(self) -> int:
        """Number of presynaptic neurons."""
        return self.weight.shape[0]

    @property
    def neurons(self) -> int:
        """Number of postsynaptic neurons."""
        return self.size

    def check_shapes(self, name: str) -> None:
        """Raise ValueError for weights with leading axes."""
        check_dimensions(name, self.weight, 2, "[sources, targets]")

    def spread(self, synapses: Array, index: Int[Array, " events"]) -> Float[Array, "events neurons"]:
        """The row of each source, put where its targets are."""
        index = jnp.clip(index, 0, self.sources - 1)
        empty = jnp.zeros((index.shape[0], self.neurons), synapses.dtype)
        event = jnp.arange(index.shape[0])[:, None]
        return empty.at[event, self.target[index]].set(synapses[index], mode="drop")

    def project(self, spikes: Float[Array, "*batch sources"]) -> Float[Array, "*batch neurons"]:
        """What every source sends, added up where its targets are."""
        sent = spikes[..., None] * self.weight
        empty = jnp.zeros((*spikes.shape[:-1], self.neurons), sent.dtype)
        return empty.at[..., self.target].add(sent, mode="drop")

    def table(self, index: Int[Array, " events"]) -> tuple[Float[Array, "events neurons"], Int[Array, " events"]]:
        """One row per event."""
        return self.charges(index), jnp.arange(index.shape[0], dtype=jnp.int32)


def _check_targets(target: np.ndarray, neurons: int) -> None:
    if not np.issubdtype(target.dtype, np.integer):
        raise ValueError(f"target must hold whole numbers, but is {target.dtype}.")
    if np.any(target < 0):
        raise ValueError(f"target must not be negative, but has {target.min()}; {neurons} stands for no synapse.")
    ordered = np.sort(target, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] < neurons)
    if np.any(twice):
        source = int(np.argmax(np.any(twice, axis=1)))
        raise ValueError(f"target[{source}] names a neuron twice: {target[source]}; add the two weights.")
