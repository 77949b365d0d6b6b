"""The compiled programs of members that share all that is static: many side by side, on all devices."""

import concurrent.futures
import functools
import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from benchmarks._member import Member, Traced

ROWS = 256
"""How many epochs one call runs, at most: their metrics wait in a buffer of this length."""
SHARED = 2**16
"""Bytes from which on equal constants of the three programs are kept once."""
Current = tuple[PyTree, dict[str, Array]]
"""Where members are: their state, and the metrics of the last epoch; [size] each."""


class _Program:
    """A program with the constants that are its first argument; compiled when it is first needed."""

    def __init__(self, constants: list[Any], lowered: jax.stages.Lowered):
        self._constants = constants
        self._lowered = lowered

    @functools.cached_property
    def compiled(self) -> jax.stages.Compiled:
        return self._lowered.compile()

    def __call__(self, *args: PyTree) -> Any:
        # Of an output for which memory was short, np.asarray waits forever (jaxlib 0.10.2 on CPU); this raises.
        return jax.block_until_ready(self.compiled(self._constants, *args))


class Programs:
    """Start, epochs and judgement of exactly `size` members, `width` side by side on every device.

    A member's bits depend on `width` alone: how many epochs a call runs is an argument of the loop over them. They are
    compiled ahead of time, when first asked for, so that no epoch contains compilation. The state is not donated to
    `epochs`: what an interrupt finds must still be there to be saved.
    """

    def __init__(self, member: Member, width: int):
        self.member = member
        self.width = width
        devices = jax.local_devices()
        self.size = width * len(devices)
        self.compile_s = member.trace_s
        """Seconds spent on tracing and compiling (close to nothing where JAX's compilation cache helps)."""
        self._mesh = Mesh(np.array(devices), ("members",))
        self._shared: dict[Any, Any] = {}

    def compile(self) -> None:
        """Compiles all of them, so that nothing later contains compilation."""
        started = time.perf_counter()
        programs = [self._epochs, self._finish, self._init] if self.member.epochs else [self._finish]
        together([lambda program=program: program.compiled for program in programs])
        self.compile_s += time.perf_counter() - started

    def bytes_per_device(self) -> int:
        """What the dearest program needs."""
        analysis = (self._epochs if self.member.epochs else self._finish).compiled.memory_analysis()
        if analysis is None:  # a backend that cannot tell: only the width bounds it
            return 0
        return analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes

    def place(self, tree: PyTree) -> PyTree:
        """The arrays of members, [size], on their devices."""
        return jax.tree.map(
            lambda x: jax.device_put(x, self._over) if isinstance(x, jax.Array | np.ndarray) else x, tree
        )

    def start(self, values: dict[str, Array], keys: Array) -> Current:
        """Members before their first epoch; the metrics of the last epoch are zeros."""
        if not self.member.epochs:
            return keys, {}
        zeros = {name: np.zeros(self.size, x.dtype) for name, x in self.member.epoch.shape[1].items()}
        return eqx.combine(self._init(values, keys), self.member.init.rest), self.place(zeros)

    def epochs(
        self, values: dict[str, Array], current: Current, first: int, stop: int
    ) -> tuple[Current, dict[str, np.ndarray]]:
        """Runs the epochs `first`, ..., `stop` - 1, `ROWS` at most; their metrics are [epochs, size]."""
        arrays, rest = eqx.partition(current[0], eqx.is_array)
        bounds = np.array([first, stop], jnp.result_type(int))
        arrays, last, history = self._epochs(values, arrays, current[1], bounds)
        history = {name: column[: stop - first] for name, column in jax.device_get(history).items()}
        return (eqx.combine(arrays, rest), last), history

    def finish(self, values: dict[str, Array], current: Current) -> tuple[Any, Any, Any, Any]:
        """Metrics, networks, results and records."""
        found = self._finish(values, eqx.filter(current[0], eqx.is_array), current[1])
        return eqx.combine(found, self.member.finish.rest)

    @functools.cached_property
    def _init(self) -> _Program:
        one = self.member.init

        def init(constants, values, keys):
            return self._side_by_side(one, constants)(values, keys)

        key = self._abstract(jax.ShapeDtypeStruct((), self.member.key))
        return self._lowered(one, init, (self._values, key), (False, False), self._split)

    @functools.cached_property
    def _epochs(self) -> _Program:
        one, rows = self.member.epoch, min(self.member.epochs, ROWS)

        def epochs(constants, values, arrays, last, bounds):
            def body(number, carry):
                arrays, _, history = carry
                step = self._side_by_side(lambda c, v, a: one(c, v, a, number), constants)
                arrays, metrics = step(values, arrays)
                row = number - bounds[0]
                return arrays, metrics, {name: history[name].at[row].set(x) for name, x in metrics.items()}

            history = {name: jnp.zeros((rows, *x.shape), x.dtype) for name, x in last.items()}
            return jax.lax.fori_loop(bounds[0], bounds[1], body, (arrays, last, history))

        state, last = (self._abstract(x) for x in (self.member.init.shape, one.shape[1]))
        bounds = jax.ShapeDtypeStruct((2,), jnp.result_type(int))
        out = (self._split, self._split, PartitionSpec(None, "members"))
        return self._lowered(one, epochs, (self._values, state, last, bounds), (False, False, False, True), out)

    @functools.cached_property
    def _finish(self) -> _Program:
        one = self.member.finish

        def finish(constants, values, arrays, last):
            return self._side_by_side(one, constants)(values, arrays, last)

        state, last = (self._abstract(x) for x in (self.member.init.shape, self.member.epoch.shape[1]))
        return self._lowered(one, finish, (self._values, state, last), (False, False, False), self._split)

    def _side_by_side(self, one: Callable[..., PyTree], constants: list[Any]) -> Callable[..., PyTree]:
        """`one` for `width` members; a single one is not vmapped, which is faster."""
        if self.width > 1:
            return lambda *args: jax.vmap(lambda *a: one(constants, *a))(*args)

        def alone(*args):
            return jax.tree.map(lambda x: jnp.expand_dims(x, 0), one(constants, *jax.tree.map(lambda x: x[0], args)))

        return alone

    def _lowered(self, one: Traced, function: Any, args: Any, whole: tuple[bool, ...], out: Any) -> "_Program":
        """A program with its constants on all devices; `whole` says which arguments are not split."""
        if self._mesh.size > 1:
            # Members are independent: nothing to check about how values vary over the mesh, which many scans fail.
            specs = (PartitionSpec(), *(PartitionSpec() if w else self._split for w in whole))
            function = jax.shard_map(function, mesh=self._mesh, in_specs=specs, out_specs=out, check_vma=False)
        everywhere = NamedSharding(self._mesh, PartitionSpec())
        constants = [jax.device_put(self._once(constant), everywhere) for constant in one.constants]
        return _Program(constants, jax.jit(function).lower(constants, *args))

    def _once(self, constant: Any) -> Any:
        """The same array for the same content: each of the three programs was traced with a data set of its own."""
        is_key = isinstance(constant, jax.Array) and jnp.issubdtype(constant.dtype, jax.dtypes.prng_key)
        if is_key or not isinstance(constant, jax.Array | np.ndarray) or constant.nbytes < SHARED:
            return constant
        name = constant.dtype, constant.shape, hashlib.sha256(np.asarray(constant).tobytes()).digest()
        return self._shared.setdefault(name, constant)

    @property
    def _split(self) -> PartitionSpec:
        return PartitionSpec("members")

    @property
    def _over(self) -> NamedSharding:
        return NamedSharding(self._mesh, self._split)

    @property
    def _values(self) -> dict[str, Any]:
        return {
            name: jax.ShapeDtypeStruct((self.size,), dtype, sharding=self._over)
            for name, dtype in self.member.traced.items()
        }

    def _abstract(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((self.size, *x.shape), x.dtype, sharding=self._over), tree)


def together(calls: list[Callable[[], Any]]) -> None:
    """Makes calls side by side, such as compilations: XLA needs no lock of Python's.

    It hears no signal either, so a signal ends the wait for them, and not the calls, which end with the process.
    """
    futures = [concurrent.futures.Future() for _ in calls]

    def make(call: Callable[[], Any], future: concurrent.futures.Future) -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    for call, future in zip(calls, futures, strict=True):
        threading.Thread(target=make, args=(call, future), daemon=True).start()
    concurrent.futures.wait(futures)
    for future in futures:
        future.result()


class Batch:
    """Members `[n]` on their way through the programs, slice by slice of `programs.size`, the last one padded.

    **Arguments:**

    - `programs`: compiled.
    - `values`: those of the traced settings.
    - `keys`: keys, or seeds as NumPy's.
    """

    def __init__(self, programs: Programs, values: dict[str, np.ndarray], keys: Array | np.ndarray):
        self.programs = programs
        self.count = len(keys)
        size = programs.size
        order = np.arange(-(-self.count // size) * size).clip(max=self.count - 1).reshape(-1, size)
        whole = order.shape == (1, self.count)  # then nothing need be gathered, for which JAX would compile a program
        self._slices = [
            programs.place(({name: x[part] for name, x in values.items()}, keys if whole else keys[part]))
            for part in order
        ]

    def start(self) -> list[Current]:
        """All members before their first epoch."""
        return [self.programs.start(*slice_) for slice_ in self._slices]

    def epochs(self, current: list[Current], first: int, stop: int) -> tuple[list[Current], dict[str, np.ndarray]]:
        """Runs some epochs; their metrics are [epochs, n]."""
        found = [
            self.programs.epochs(values, one, first, stop)
            for (values, _), one in zip(self._slices, current, strict=True)
        ]
        history = [metrics for _, metrics in found]
        joined = {name: np.concatenate([h[name] for h in history], axis=1)[:, : self.count] for name in history[0]}
        return [one for one, _ in found], joined

    def last(self, current: list[Current]) -> dict[str, np.ndarray]:
        """The metrics of the last epoch, [n]."""
        columns = [one[1] for one in current]
        return {name: np.concatenate([np.asarray(c[name]) for c in columns])[: self.count] for name in columns[0]}

    def finish(self, current: list[Current]) -> tuple[dict[str, np.ndarray], PyTree, Any, PyTree]:
        """Metrics, networks, results and records of all members, [n] each."""
        found = [self.programs.finish(values, one) for (values, _), one in zip(self._slices, current, strict=True)]
        if len(found) > 1 or self.count < self.programs.size:  # on the host, where nothing is compiled for it
            found = [jax.tree.map(joined(self.count), *found)]
        return {name: np.asarray(x) for name, x in found[0][0].items()}, *found[0][1:]


def joined(count: int) -> Callable[..., Any]:
    """Joins the leaves of several trees along the axis of members, up to `count`; other leaves are equal."""

    def join(*leaves: Any) -> Any:
        if not eqx.is_array(leaves[0]):
            return leaves[0]
        if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
            return jnp.concatenate(leaves)[:count]
        return np.concatenate(jax.device_get(leaves))[:count]

    return join
