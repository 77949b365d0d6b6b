"""Trains several seeds side by side, epoch by epoch: progress bar, metrics on disk, checkpoints, resume."""

import contextlib
import dataclasses
import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree
from tqdm import tqdm

from benchmarks._loop import EVERY, Rows, Store, go_on, interrupts, run_epochs
from benchmarks._member import Member, OnePiece
from benchmarks._programs import Batch, Programs
from benchmarks._width import SHARE, fastest
from benchmarks.checkpoint import describe
from benchmarks.errors import InvalidInput
from benchmarks.results import NOT_FINITE, RESULTS, enumeration_of, is_successful, reasons
from benchmarks.run import Run, read_json, write_json
from benchmarks.training import Training

HEADLINES = ("train_loss", "validation_accuracy")
"""The metrics that the progress bar shows, where a training has them."""


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
        # A package says what becomes NaN in its simulations; here it may be the metric alone.
        cls = enumeration_of(self.result)
        blame = "" if cls is RESULTS else f" If the simulation is to blame: {cls[cls.non_finite]}"
        found = enumerate(reasons(self.result, self.metrics))
        return {i: reason + blame * reason.startswith(NOT_FINITE) for i, reason in found if reason}

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
    checkpoint_every: float = EVERY,
) -> Fit:
    """Trains one network per key, side by side (`vmap` over `keys`, split over all local devices).

    A long `run` on disk has as many side by side as is fastest, which is timed before it starts.

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
        of these wait for the end of the epoch, or of several short ones (a second Ctrl-C does not).

    Raises `ValueError` if `epoch` changes the structure, shapes or dtypes of the state, if `run` has been started
    before and `resume` is False, if its checkpoints belong to another configuration, other keys or another network, or
    if it is to be resumed and has metrics but no checkpoint. Raises `OSError` if another process is at work on it.
    """
    if jnp.ndim(keys) != 1 or not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key):
        raise InvalidInput(f"keys must be typed PRNG keys [seeds], as from `seed_keys`; got {keys.dtype}{keys.shape}.")
    if run is None and resume:
        raise InvalidInput("resume=True needs the run that is to be resumed: pass run=.")
    if run is not None and len(run.record["seeds"]) != len(keys):
        raise InvalidInput(f"{run.directory} is for {len(run.record['seeds'])} seeds, but there are {len(keys)} keys.")
    owner = {} if run is None else describe((training, keys), digest=True)
    with contextlib.closing(Store(run, owner, checkpoint_every)) as store:  # first: it locks the run
        if run is not None and not resume and run.rows():
            raise InvalidInput(f"{run.directory} has been started before: pass resume=True, or create a new run.")
        batch = side_by_side(training, keys, run)
        current, rows = go_on(store, batch, demanded=resume)
        bar = tqdm(total=training.epochs, initial=len(rows), disable=not progress, unit="epoch", dynamic_ncols=True)
        with bar, interrupts(enabled=run is not None) as asked:
            show = functools.partial(_show, bar)
            current = run_epochs(batch, current, rows, store, asked, stop=training.epochs, last=True, watch=show)
    outcome = _judge(batch, current, rows)
    if throw and outcome.failures:
        raise RuntimeError(explain(outcome.failures, range(len(keys)) if run is None else run.record["seeds"]))
    return outcome


def fit_in_one_piece(function: Any, config: Any, keys: Key[Array, "seeds"]) -> Fit:
    """Runs `function(config, key)` once, under `jit` and `vmap` over `keys [seeds]`; there are no epochs to watch."""
    batch = side_by_side(OnePiece(function=functools.partial(function, config)), keys)
    return _judge(batch, batch.start(), [])


def side_by_side(training: Training, keys: Key[Array, "seeds"], run: Run | None = None) -> Batch:
    """The seeds of a training; for a long `run` as many at once as is fastest, else all."""
    member = Member(lambda values: training, {}, keys.dtype)
    make = functools.cache(lambda width: Programs(member, width))
    width = -(-len(keys) // jax.local_device_count())
    if run is not None and len(keys) > 1 and member.epochs * SHARE >= 1:
        width = _noted(run, lambda: fastest(make, len(keys), width, lambda p: Batch(p, {}, keys[: p.size]))[0].width)
    make(width).compile()
    return Batch(make(width), {}, keys)


def _noted(run: Run, measure: Callable[[], int]) -> int:
    """How many seeds of a run are side by side: as in its `width.json`, which is made when it is started."""
    path = run.directory / "width.json"
    if not path.exists():
        write_json(path, {"width": len(run.record["seeds"]) if run.rows() else measure()})
    width = read_json(path, str(path)).get("width")
    if not (isinstance(width, int) and width > 0):
        raise InvalidInput(f"{path} is damaged: it names no width. Delete it if the run had all seeds side by side.")
    return width


def _judge(batch: Batch, current: Any, rows: Rows) -> Fit:
    metrics, network, result, record = jax.block_until_ready(batch.finish(current))
    seconds = [row["epoch_s"] for row in rows if row.get("epoch_s") is not None]  # None: lost in a power cut
    return Fit(
        metrics=metrics,
        network=network,
        result=result,
        history={name: np.array([row[name] for row in rows], dtype=float) for name in current[0][1]},
        compile_s=batch.programs.compile_s,
        step_ms=1e3 * statistics.median(seconds) / batch.programs.member.steps_per_epoch if seconds else None,
        record=record,
    )


def _show(bar: tqdm, epochs: int, metrics: dict[str, np.ndarray]) -> None:
    """Shows how far a training has come."""
    bar.set_postfix_str(headline(metrics), refresh=False)
    bar.update(epochs - bar.n)


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


def headline(metrics: dict[str, Any]) -> str:
    """The metrics that a progress bar has room for."""
    names = [name for name in HEADLINES if name in metrics] or list(metrics)[:2]
    return ", ".join(f"{name.replace('_', ' ')} {_mean(metrics[name]):.4f}" for name in names)


def _mean(values: np.ndarray) -> float:
    """The mean over the seeds that are still well; NaN if none is."""
    good = np.asarray(values)[np.isfinite(values)]
    return float(good.mean()) if good.size else np.nan
