"""One compiled program that runs many members at once, as many as fit into memory."""

import copy
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.errors import InvalidInput
from benchmarks.results import enumeration_of, message
from benchmarks.training import as_arrays, unpack

# Shares of what there is; the rest is for the data, for other processes, and for the model being a model.
_DEVICE_SHARE = 0.7
_HOST_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Program:
    """An experiment compiled for exactly `size` members, spread over the devices."""

    size: int
    bytes_per_device: int
    _call: Callable[..., Any]
    _sharding: NamedSharding

    def __call__(self, seeds: np.ndarray, values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
        """Runs members with these seeds and traced values, at most `size` of them.

        Returns their metrics and the reason why each failed, "" if it did not.
        """
        count = len(seeds)
        padded = jax.tree.map(lambda leaf: np.pad(leaf, (0, self.size - count), mode="edge"), (seeds, values))
        outcome = jax.device_get(self._call(*jax.device_put(padded, self._sharding)))
        metrics, result = jax.tree.map(lambda leaf: leaf[:count], outcome)
        reasons = [message(jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), result)) for i in range(count)]
        return metrics, [reason or _non_finite(metrics, i) for i, reason in enumerate(reasons)]


def _non_finite(metrics: dict[str, np.ndarray], member: int) -> str:
    names = [name for name, values in metrics.items() if not np.isfinite(values[member])]
    return f"Not finite: {', '.join(names)}." if names else ""


def assign(config: Any, values: dict[str, Any]) -> Any:
    """A copy of the frozen `config` with traced `values`.

    Unlike dataclasses.replace it leaves out __post_init__, which could not look at traced values; it has seen the
    concrete ones when the sweep was planned.
    """
    assigned = copy.copy(config)
    for name, value in values.items():
        object.__setattr__(assigned, name, value)
    return assigned


@dataclasses.dataclass(frozen=True)
class Member:
    """The function of one member as a jaxpr: (constants, seed, traced values) -> (metrics, result)."""

    metrics: list[str]
    constants: list[Any]
    _jaxpr: Any
    _structure: Any

    def __call__(self, constants: list[Any], seed: Any, values: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        leaves = jaxpr_as_fun(ClosedJaxpr(self._jaxpr, constants))(*jax.tree.leaves((seed, values)))
        return jax.tree.unflatten(self._structure, leaves)


def trace(function: Callable[..., Any], config: Any, traced: Sequence[str]) -> Member:
    """Traces an experiment with the fields `traced` of its configuration as scalar tracers.

    The seed makes the key, jax.random.key(seed): the same for every setting, so that settings are compared on the
    same random numbers. The network is dropped, so that it costs no memory. Data sets become arguments of the
    program: as constants they would be compiled into it, copied and folded, over and over.

    Raises ValueError if the experiment does not return (metrics, network, result), and TypeError if a traced field has
    to be a number: JAX raises that for a shape and for `if`, `int` and NumPy functions of a tracer.
    """

    def run(seed, values):
        return _checked(function(assign(config, values), jax.random.key(seed)))

    closed, shape = jax.make_jaxpr(run, return_shape=True)(*_abstract(traced, ()))
    return Member(list(shape[0]), closed.consts, closed.jaxpr, jax.tree.structure(shape))


def _checked(outcome: Any) -> tuple[dict[str, jax.Array], Any]:
    wanted = "(metrics, network, result)"
    metrics, _, result, *_ = unpack(outcome, "The experiment", wanted, 3, 4)  # the fourth is a record for figures
    metrics = as_arrays(metrics)
    if not metrics:
        raise InvalidInput("Metrics must be a dictionary from name to scalar, with one at least to rank settings by.")
    for name, value in metrics.items():
        if jnp.shape(value) != () or jnp.iscomplexobj(value):
            found = "complex number" if jnp.iscomplexobj(value) else f"shape {jnp.shape(value)}"
            raise InvalidInput(f"The experiment's metric {name!r} must be a real scalar, got {found}.")
    enumeration_of(result)  # refuses what is none
    return metrics, result


def takes_traced(function: Callable[..., Any], config: Any, name: str) -> bool:
    """Whether the function works with the field as a traced scalar, or needs a number (for a shape, say)."""
    try:
        trace(function, config, [name])
    except TypeError:
        return False
    return True


def build(one: Member, traced: Sequence[str], members: int, limit: int) -> Program:
    """Compiles the largest program for a group of `members`, with no more than `limit` on a device, that fits.

    Chunks are of equal size, so that the last one is not mostly padding.
    """
    devices = jax.local_devices()
    mesh = Mesh(np.array(devices), ("members",))
    over_members, everywhere = PartitionSpec("members"), PartitionSpec()
    batched = jax.vmap(one, in_axes=(None, 0, 0))
    if len(devices) > 1:
        # Members are independent: nothing to check about how values vary over the mesh, which many scans fail.
        specs = (everywhere, over_members, over_members)
        batched = jax.shard_map(batched, mesh=mesh, in_specs=specs, out_specs=over_members, check_vma=False)
    sharding = NamedSharding(mesh, over_members)
    constants = jax.device_put(one.constants, NamedSharding(mesh, everywhere))

    def compile_for(per_device: int) -> Program:
        size = per_device * len(devices)
        compiled = jax.jit(batched).lower(constants, *_abstract(traced, (size,), sharding)).compile()
        return Program(size, _bytes(compiled), functools.partial(compiled, constants), sharding)

    return fit(compile_for, math.ceil(members / len(devices)), limit, memory_budget(devices))


def fit(compile_for: Callable[[int], Program], members: int, limit: int, budget: int) -> Program:
    """The program for the largest chunk, at most `limit`, whose memory stays within `budget`.

    One compilation if everything fits. Otherwise the programs for one and two members give a linear model,
    bytes(n) = bytes(1) + (n - 1) (bytes(2) - bytes(1)), and the chunk that it predicts is compiled and checked. A
    single member is run whatever it needs: the budget is cautious, and there is nothing smaller.
    """
    size = even_chunk(members, limit)
    program = compile_for(size)
    if size > 1 and program.bytes_per_device > budget:
        one, two = compile_for(1), compile_for(2)
        size = even_chunk(members, min(size - 1, chunk_size(one.bytes_per_device, two.bytes_per_device, budget)))
        while (program := compile_for(size)).bytes_per_device > budget and size > 1:
            size //= 2
    return program


def chunk_size(bytes_one: int, bytes_two: int, budget: int) -> int:
    """The largest n, at least 1, with bytes_one + (n - 1) (bytes_two - bytes_one) <= budget."""
    if bytes_one >= budget:
        return 1
    slope = max(bytes_two - bytes_one, 1)
    return 1 + (budget - bytes_one) // slope


def even_chunk(members: int, limit: int) -> int:
    """The smallest chunk that needs no more chunks of `members` than `limit` does: 80 under 64 gives 40."""
    return math.ceil(members / math.ceil(members / limit))


def memory_budget(devices: Sequence[Any]) -> int:
    """Bytes that a program may take on each device."""
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return int(_DEVICE_SHARE * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
    return int(_HOST_SHARE * host_memory() / len(devices))


def host_memory() -> int:
    """Bytes of memory that this process may use: what the machine has, or less if a control group says so."""
    limits = [_physical_memory()]
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        groups = []
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers == "":
            root, name = Path("/sys/fs/cgroup"), "memory.max"
        elif "memory" in controllers.split(","):
            root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
        else:
            continue
        folder = root / path.lstrip("/")
        for level in (folder, *folder.parents):
            limit = level / name
            if limit.is_file() and (text := limit.read_text().strip()).isdigit():
                limits.append(int(text))
    return min(limits)


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # not a POSIX system
        return 8 * 2**30


def _abstract(traced: Sequence[str], shape: tuple[int, ...], sharding: NamedSharding | None = None) -> tuple[Any, Any]:
    seed = jax.ShapeDtypeStruct(shape, np.int32, sharding=sharding)
    value = jax.ShapeDtypeStruct(shape, jnp.result_type(float), sharding=sharding)
    return seed, dict.fromkeys(traced, value)


def _bytes(compiled: jax.stages.Compiled) -> int:
    analysis = compiled.memory_analysis()
    if analysis is None:  # a backend that cannot tell: only `limit` bounds the chunk
        return 0
    return analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
