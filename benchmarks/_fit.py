"""Trains several seeds side by side, epoch by epoch: progress bar, metrics on disk, checkpoints, resume."""

import contextlib
import dataclasses
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree
from tqdm import tqdm

from benchmarks._lock import RunLock
from benchmarks.checkpoint import Checkpoints, compare, describe
from benchmarks.errors import InvalidInput
from benchmarks.results import RESULTS, enumeration_of, is_successful, message
from benchmarks.run import Run, finite
from benchmarks.training import Training, as_arrays, check_epochs, conclude, run_epoch, unpack, verify

HEADLINES = ("train_loss", "validation_accuracy")
"""The metrics that the progress bar shows, where a training has them."""
RESERVED = ("epoch", "epoch_s")
"""What every line of metrics.jsonl has besides the metrics."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a training, or an experiment in one piece, ended with; all seeds side by side."""

    metrics: dict[str, np.ndarray]
    """The metrics at the end, each `[seeds]`."""
    network: PyTree
    """The trained networks, with a leading axis of seeds on every array."""
    result: Any
    """What became of each seed, `[seeds]`, from the `RESULTS` of the package that the experiment is of."""
    history: dict[str, np.ndarray]
    """The metrics of every epoch, each `[epochs, seeds]`; NaN where a value was not finite."""
    compile_s: float
    """Seconds spent on tracing and compiling (close to nothing where JAX's compilation cache helps)."""
    step_ms: float | None
    """Milliseconds per optimiser step, of all seeds together: the median over epochs of an epoch's wall time divided
    by its steps. None where there are no epochs."""
    record: PyTree = None
    """What an experiment in one piece returns beyond `(metrics, network, result)`, with a leading axis of seeds."""

    @property
    def failures(self) -> dict[int, str]:
        """Position of each seed that failed, and why."""
        failed = np.flatnonzero(~np.asarray(is_successful(self.result)))
        return {i: self._reason(i) for i in failed.tolist()}

    def _reason(self, position: int) -> str:
        result = jax.tree.map(itemgetter(position), self.result)
        names = ", ".join(name for name, values in self.metrics.items() if not np.isfinite(values[position]))
        cls = enumeration_of(result)
        if not (names and hasattr(cls, "non_finite") and bool(result == cls.non_finite)):
            return message(result)
        # A package says what becomes NaN in its simulations; here it may be the metric alone.
        blame = "" if cls is RESULTS else f" If the simulation is to blame: {message(result)}"
        return f"Not finite: {names}.{blame}"

    def __repr__(self) -> str:
        """How many seeds succeeded, why others failed, and the mean metrics of those that succeeded."""
        failures, seeds = self.failures, np.size(is_successful(self.result))
        good = [position for position in range(seeds) if position not in failures]
        lines = [f"Fit: {len(good)} of {seeds} seeds successful"]
        lines += [f"  position {position} failed: {reason}" for position, reason in failures.items()]
        if good:
            lines += [f"  {name}: {np.mean(values[good]):.6g}" for name, values in self.metrics.items()]
        return "\n".join(lines)

    def recorded(self, position: int = 0) -> PyTree:
        """The record of one seed."""
        return jax.tree.map(lambda leaf: leaf[position] if eqx.is_array(leaf) else leaf, self.record)


def fit(
    training: Training,
    keys: Key[Array, "seeds"],
    *,
    run: Run | None = None,
    resume: bool = False,
    progress: bool = True,
    throw: bool = True,
    checkpoint_every: float = 30.0,
) -> Fit:
    """Trains one network per key, side by side (`vmap` over `keys`, one compiled program per epoch).

    **Arguments:**

    - `training`: the problem.
    - `keys`: typed keys, `[seeds]`. Seed `i` learns what it would learn alone, up to rounding: `vmap` may order
        floating-point sums differently.
    - `run`: where metrics and checkpoints go; None keeps everything in memory.
    - `resume`: continues `run` from its newest checkpoint. On the same machine the outcome is bit-identical to that
        of a run that was never interrupted (on a GPU only if XLA is asked for deterministic operations).
    - `progress`: shows a progress bar.
    - `throw`: raises `RuntimeError` at the end if a seed failed; everything is on disk by then. A seed that fails
        never disturbs the others.
    - `checkpoint_every`: seconds between checkpoints. There is always one at the end, on Ctrl-C and on SIGTERM; both
        of these wait for the end of the epoch (a second Ctrl-C does not).

    Raises `ValueError` if `epoch` changes the structure, shapes or dtypes of the state, if `run` has been started
    before and `resume` is False, if its checkpoints belong to another configuration, other keys or another network, or
    if it is to be resumed and has metrics but no checkpoint. Raises `OSError` if another process is at work on it.
    """
    check_epochs(training)
    if jnp.ndim(keys) != 1 or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        raise InvalidInput(f"keys must be typed PRNG keys [seeds], as from `seed_keys`; got {keys.dtype}{keys.shape}.")
    if run is not None and len(run.record["seeds"]) != len(keys):
        raise InvalidInput(f"{run.directory} is for {len(run.record['seeds'])} seeds, but there are {len(keys)} keys.")
    with contextlib.closing(_Store(run, (training, keys), checkpoint_every)) as store:  # first: it locks the run
        programs = _Programs(training, keys)
        start = (programs.state, programs.last)
        current, rows = store.resume(start) if resume else store.start(start)
        current = _loop(training, programs, current, rows, store, progress)
    metrics, network, result = jax.block_until_ready(programs.finish(training, *current))
    seconds = [row["epoch_s"] for row in rows if row.get("epoch_s") is not None]  # None: lost in a power cut
    outcome = Fit(
        metrics={name: np.asarray(value) for name, value in metrics.items()},
        network=network,
        result=result,
        history={name: np.array([row[name] for row in rows], dtype=float) for name in programs.last},
        compile_s=programs.compile_s,
        step_ms=1e3 * statistics.median(seconds) / training.steps_per_epoch if seconds else None,
    )
    if throw and outcome.failures:
        raise RuntimeError(explain(outcome.failures, range(len(keys)) if run is None else run.record["seeds"]))
    return outcome


def fit_in_one_piece(function: Any, config: Any, keys: Key[Array, "seeds"]) -> Fit:
    """Runs `function(config, key)` once, under `jit` and `vmap` over `keys [seeds]`; there are no epochs to watch."""

    def one(key):
        found = unpack(function(config, key), "The experiment", "(metrics, network, result) or a record besides", 3, 4)
        metrics, network, result, *record = found
        return *verify(as_arrays(metrics), network, result), *record

    program = eqx.filter_jit(eqx.filter_vmap(one))
    started = time.perf_counter()
    compiled = program.lower(keys).compile()
    compile_s = time.perf_counter() - started
    metrics, network, result, *record = jax.block_until_ready(compiled(keys))
    return Fit(
        metrics={name: np.asarray(value) for name, value in metrics.items()},
        network=network,
        result=result,
        history={},
        compile_s=compile_s,
        step_ms=None,
        record=record[0] if record else None,
    )


def seed_keys(seed: int, seeds: int) -> Key[Array, "seeds"]:
    """The keys of `seeds` seeds from `seed` on: `jax.random.key(seed)`, `jax.random.key(seed + 1)`, ..."""
    if seed < 0 or seeds < 1:
        raise InvalidInput(f"seed must be at least 0 and seeds at least 1, got seed = {seed}, seeds = {seeds}.")
    if seed + seeds > 2**31:  # JAX drops what is above 32 bits: 2^32 would be 0 again
        raise InvalidInput(f"seed must be at most 2^31 - seeds, got seed = {seed}, seeds = {seeds}.")
    return jnp.stack([jax.random.key(number) for number in range(seed, seed + seeds)])


def seed_number(key: Key[Array, "*batch"]) -> Int[Array, "*batch"]:
    """The number that `seed_keys`, or `jax.random.key`, has made a key from.

    So an experiment can do something else for every seed, such as take the next of five targets for every four. Not for
    keys that come out of `split` or `fold_in`: theirs are arbitrary.
    """
    return jax.random.key_data(key)[..., -1].astype(int)


def explain(failures: dict[int, str], seeds: Sequence[int]) -> str:
    """The failed seeds and their reasons in words."""
    reasons = "; ".join(f"seed {seeds[position]}: {reason}" for position, reason in failures.items())
    return f"{len(failures)} of {len(seeds)} seeds failed ({reasons})"


class _Store:
    """Where a fit keeps what it has: a run's metrics and checkpoints, which nobody else may work on, or nowhere."""

    def __init__(self, run: Run | None, owner: PyTree, checkpoint_every: float):
        self.run = run
        self._every = checkpoint_every
        self._saved = time.monotonic()
        self._checkpoints = None
        with contextlib.ExitStack() as stack:
            if run is not None:
                stack.enter_context(contextlib.closing(RunLock(run.directory)))
                checkpoints = Checkpoints(run.directory / "checkpoints", describe(owner, digest=True))
                self._checkpoints = stack.enter_context(contextlib.closing(checkpoints))
            self._open = stack.pop_all()

    def start(self, current: PyTree) -> tuple[PyTree, list[dict[str, Any]]]:
        if self.run is not None and self.run.rows():
            raise InvalidInput(f"{self.run.directory} has been started before: pass resume=True, or create a new run.")
        return current, []

    def resume(self, current: tuple[PyTree, dict[str, Any]]) -> tuple[PyTree, list[dict[str, Any]]]:
        """What the newest checkpoint holds, with the metrics of the epochs before it."""
        if self.run is None or self._checkpoints is None:
            raise InvalidInput("resume=True needs the run that is to be resumed: pass run=.")
        restored = self._checkpoints.restore(current)
        if restored is None and (rows := self.run.rows()):
            raise InvalidInput(
                f"{self.run.directory} has the metrics of {len(rows)} epochs, but no checkpoint to go on from: either "
                "it was stopped before the first was written, or they are gone. Start anew, without --resume."
            )
        current, epochs = restored or (current, 0)
        return current, self.run.rewind(epochs, list(current[1]))

    def keep(self, row: dict[str, Any], current: PyTree, *, at_once: bool) -> None:
        """Writes the metrics of an epoch, and a checkpoint if it is time for one."""
        if self.run is None or self._checkpoints is None:
            return
        self.run.append(row)
        if at_once or time.monotonic() - self._saved >= self._every:
            self.run.sync()  # a checkpoint must not outlive the metrics of its epochs
            self._checkpoints.save(row["epoch"], current)
            self._saved = time.monotonic()

    def close(self) -> None:
        self._open.close()


class _Programs:
    """The compiled programs of a training, ahead of time, so that no epoch contains compilation.

    The state is not donated to `epoch`: what an interrupt finds must still be there to be saved.
    """

    def __init__(self, training: Training, keys: Key[Array, "seeds"]):
        init = eqx.filter_vmap(lambda t, key: t.init(key), in_axes=(None, 0))
        epoch = eqx.filter_vmap(run_epoch, in_axes=(None, eqx.if_array(0), None))
        finish = eqx.filter_vmap(conclude, in_axes=(None, eqx.if_array(0), 0))
        first = jnp.asarray(0)
        self.compile_s = 0.0
        self.state = self._compile(init, training, keys)(training, keys)
        after, metrics = eqx.filter_eval_shape(epoch, training, self.state, first)
        change = compare(describe(self.state), describe(after))
        if change:
            raise InvalidInput(
                f"{type(training).__name__}.epoch must return a state with the structure, shapes and dtypes of its "
                f"argument; it does not ({change}; 'there' is before the epoch, 'here' is after it)."
            )
        self.last = {name: jnp.zeros(value.shape, value.dtype) for name, value in metrics.items()}
        """The metrics of the last epoch; zeros before the first one."""
        _check_scalars(metrics, keys.shape, "epoch", training)
        final, _, _ = eqx.filter_eval_shape(finish, training, self.state, self.last)
        _check_scalars(final, keys.shape, "finish", training)
        self.epoch = self._compile(epoch, training, self.state, first)
        self.finish = self._compile(finish, training, self.state, self.last)

    def _compile(self, function: Callable, *args: Any) -> Any:
        started = time.perf_counter()
        compiled = eqx.filter_jit(function).lower(*args).compile()
        self.compile_s += time.perf_counter() - started
        return compiled


def _check_scalars(metrics: dict[str, Any], shape: tuple[int, ...], method: str, training: Training) -> None:
    for name, value in metrics.items():
        if value.shape != shape:
            raise InvalidInput(
                f"Metric {name!r} of {type(training).__name__}.{method} must be a scalar, has shape {value.shape[1:]}."
            )
        if jnp.issubdtype(value.dtype, jnp.complexfloating):
            raise InvalidInput(f"Metric {name!r} of {type(training).__name__}.{method} must be real: it has no order.")
        if name in RESERVED:
            raise InvalidInput(f"Metric {name!r} of {type(training).__name__}.{method} must be renamed: `fit` owns it.")


def _loop(
    training: Training,
    programs: _Programs,
    current: tuple[PyTree, dict[str, Any]],
    rows: list[dict[str, Any]],
    store: "_Store",
    progress: bool,
) -> tuple[PyTree, dict[str, Any]]:
    """The epochs after `rows`, to which it appends; returns the final state with the metrics of the last epoch."""
    bar = tqdm(total=training.epochs, initial=len(rows), disable=not progress, unit="epoch", dynamic_ncols=True)
    with bar, _interrupts(enabled=store.run is not None) as asked:
        for number in range(len(rows), training.epochs):
            started = time.perf_counter()
            current = jax.block_until_ready(programs.epoch(training, current[0], jnp.asarray(number)))
            seconds = time.perf_counter() - started
            rows.append({"epoch": number + 1, "epoch_s": seconds, **finite(current[1])})
            stop = bool(asked)  # a signal that comes later than here waits for the next epoch
            store.keep(rows[-1], current, at_once=stop or number + 1 == training.epochs)
            bar.set_postfix_str(_headline(current[1]), refresh=False)
            bar.update()
            if stop:
                raise KeyboardInterrupt if asked[0] == signal.SIGINT else SystemExit(128 + asked[0])
    return current


def _headline(metrics: dict[str, Any]) -> str:
    names = [name for name in HEADLINES if name in metrics] or list(metrics)[:2]
    return ", ".join(f"{name.replace('_', ' ')} {_mean(metrics[name]):.4f}" for name in names)


def _mean(values: Array) -> float:
    """The mean over the seeds that are still well; NaN if none is."""
    good = np.asarray(values)[np.isfinite(values)]
    return float(good.mean()) if good.size else np.nan


@contextlib.contextmanager
def _interrupts(*, enabled: bool) -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM instead of obeying at once, so that a checkpoint can be written first."""
    asked: list[int] = []

    def remember(number, frame):
        del frame
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    # Python delivers signals to the main thread only, and lets no other thread set handlers.
    enabled = enabled and threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if enabled else ()
    previous = {number: signal.signal(number, remember) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
