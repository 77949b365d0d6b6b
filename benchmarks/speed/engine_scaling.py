"""What a sweep of small networks costs on each engine, against the bare compiled program.

python -m benchmarks.speed.engine_scaling --members 10000 --engines here local ray
"""

import contextlib
import dataclasses
import os
import tempfile
import time
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jaxtyping import Array, Float, Int

from benchmarks import RESULTS, Training, sweep, train
from benchmarks.engines import Local, Ray

OPTIMISER = optax.adam(0.01)
WIDTH, WORKERS = 256, 2
ENGINES = {"here": contextlib.nullcontext, "local": lambda: Local(WORKERS), "ray": lambda: Ray(workers=WORKERS)}


@dataclasses.dataclass(frozen=True)
class Config:
    """A perceptron with one small hidden layer on a disc in a square."""

    scale: float = 1.0
    hidden: int = 16
    epochs: int = 40
    samples: int = 128


class Small(Training):
    """The training of `Config`: `samples / 16` steps of Adam per epoch."""

    x: Float[Array, "samples 2"]
    y: Int[Array, " samples"]
    scale: float
    hidden: int
    epochs: int
    steps_per_epoch: int

    def __init__(self, config: Config):
        x = np.random.default_rng(0).uniform(-1.0, 1.0, (config.samples, 2))
        self.x, self.y = jnp.asarray(x), jnp.asarray((x**2).sum(1) < 0.6).astype(int)
        self.scale, self.hidden, self.epochs = config.scale, config.hidden, config.epochs
        self.steps_per_epoch = config.samples // 16

    def init(self, key):
        first, second, key = jax.random.split(key, 3)
        weights = jax.random.normal(first, (2, self.hidden)), jax.random.normal(second, (self.hidden, 2))
        weights = jax.tree.map(lambda w: self.scale * w, weights)
        return weights, OPTIMISER.init(weights), key

    def epoch(self, state, number):
        weights, moments, key = state
        key, subkey = jax.random.split(key)

        def step(carry, batch):
            weights, moments = carry
            loss, gradient = jax.value_and_grad(self.loss)(weights, self.x[batch], self.y[batch])
            updates, moments = OPTIMISER.update(gradient, moments)
            return (optax.apply_updates(weights, updates), moments), loss

        order = jax.random.permutation(subkey, len(self.y)).reshape(self.steps_per_epoch, -1)
        (weights, moments), losses = jax.lax.scan(step, (weights, moments), order)
        return (weights, moments, key), {"train_loss": losses.mean()}

    def finish(self, state):
        return {"validation_loss": self.loss(state[0], self.x, self.y)}, state[0], RESULTS.successful

    def loss(self, weights, x, y):
        logits = jnp.tanh(x @ weights[0]) @ weights[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@dataclasses.dataclass(frozen=True)
class Cost:
    """What was spent."""

    wall: float
    """Seconds."""
    processors: float
    """Seconds of processor time, of this process and all that it has started."""
    driver: float
    """Seconds of processor time of this process alone."""
    memory: float
    """Bytes by which this process has grown."""


def bare(config: Config, members: int, width: int) -> Cost:
    """The compiled program alone, `width` members side by side, one slice after another; without compilation."""

    def one(scale, key):
        return train(Small(dataclasses.replace(config, scale=scale)), key)[0]

    program = jax.jit(jax.vmap(one))
    scales, keys = jnp.ones(width), jax.jit(jax.vmap(jax.random.key))
    jax.block_until_ready(program(scales, keys(np.arange(width, dtype=np.int32))))
    with _spent() as cost:
        for start in range(0, members, width):
            np.asarray(program(scales, keys(np.arange(start, start + width, dtype=np.int32)))["train_loss"])
    return cost[0]


def swept(engine, config: Config, members: int, folder: Path) -> Cost:
    """A sweep with its folder, and a width that it finds."""
    with _spent() as cost:
        options = {"seeds": members, "metric": "validation_loss", "progress": False}
        found = sweep(Small, config, over={"scale": (1.0,)}, results=folder, engine=engine, **options)
        assert found.missing == 0
    return cost[0]


@contextlib.contextmanager
def _spent():
    cost: list[Cost] = []
    before = time.perf_counter(), _processors(), time.process_time(), _resident()
    yield cost
    after = time.perf_counter(), _processors(), time.process_time(), _resident()
    cost.append(Cost(*(b - a for a, b in zip(before, after, strict=True))))


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _processors() -> float:
    """Seconds of processor time of this process and its descendants."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            ticks[int(path.parent.name)] = sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks[number] for number in ours) / os.sysconf("SC_CLK_TCK")


Engine = Literal["here", "local", "ray"]


def main(engines: tuple[Engine, ...] = ("here", "local", "ray"), members: int = 10_000, samples: int = 128) -> None:
    """Prints what members cost, beyond a fifth of them, on two workers.

    Args:
        engines: Where the sweeps are run.
        members: How many networks.
        samples: How many they learn from: what an epoch costs grows with it.
    """
    config = Config(samples=samples)
    alone = bare(config, members, WIDTH)
    print(f"bare: {_each(alone.wall, members)}, {_each(alone.processors, members)} of processors", flush=True)
    for name in engines:
        with tempfile.TemporaryDirectory() as place:
            started = time.perf_counter()
            with ENGINES[name]() as engine:
                up = time.perf_counter() - started
                numbers = members // 50, members // 5, members  # the first is for compiling
                _report(name, up, alone, {n: swept(engine, config, n, Path(place) / str(n)) for n in numbers})


def _report(name: str, up: float, alone: Cost, costs: dict[int, Cost]) -> None:
    print(f"{name}: up after {up:.1f} s")
    for number, cost in costs.items():
        print(
            f"  {number} members: {cost.wall:.1f} s, {cost.processors:.1f} s of processors, of which the driver "
            f"{cost.driver:.2f} s; the driver grew by {cost.memory / 2**20:.1f} MiB"
        )
    _, few, many = costs
    for kind in ("wall", "processors"):
        more = getattr(costs[many], kind) - getattr(costs[few], kind)
        ratio = getattr(alone, kind) / many * (many - few) / more
        print(f"  {kind}: {_each(more, many - few)}, {100 * ratio:.0f} % of the bare program", flush=True)


def _each(seconds: float, members: int) -> str:
    return f"{1e3 * seconds / members:.3f} ms a member"


if __name__ == "__main__":
    tyro.cli(main)
