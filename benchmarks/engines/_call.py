"""How a worker, of whatever engine, calls a function: with the driver's settings, and with an answer in every case."""

import contextlib
import dataclasses
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Literal

from benchmarks.engines._engine import Stopped, WrongWorker
from benchmarks.errors import said
from benchmarks.libraries import others, versions

SETTINGS = (
    "jax_enable_x64",
    "jax_platforms",
    "jax_num_cpu_devices",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_debug_nans",
)
"""The settings of JAX that decide what a program computes."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What became of a call."""

    kind: Literal["returned", "raised", "stopped"]
    value: Any = None

    def settle(self, future: Future) -> None:
        """Ends a future by this."""
        if self.kind == "returned":
            future.set_result(self.value)
        else:
            future.set_exception(Stopped("It was asked to stop.") if self.kind == "stopped" else self.value)


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a worker must share with the driver, so that the same task has the same outcome."""

    environment: dict[str, str]
    """Variables of the environment: where the data are, and the settings of JAX and XLA."""
    settings: dict[str, Any]
    """Settings of JAX that the driver may have made otherwise; none where it has not imported JAX."""
    kept: bool
    """Whether compiled programs are kept in the user's cache folder (see `benchmarks.compiled.kept_programs`)."""
    versions: dict[str, str | None]
    """Versions of Credax and the libraries."""

    @staticmethod
    def packed(**variables: str) -> bytes:
        """Those of this process, as `call` takes them, with more variables of the environment."""
        environment = {
            name: value for name, value in os.environ.items() if name == "XLA_FLAGS" or name.startswith("JAX_")
        }
        if data := os.environ.get("CREDAX_DATA"):
            environment["CREDAX_DATA"] = os.path.abspath(data)
        settings, kept = {}, False
        if "jax" in sys.modules:
            import jax

            from benchmarks.cache import cache_folder

            settings = {name: getattr(jax.config, name) for name in SETTINGS}
            folder, cache = jax.config.jax_compilation_cache_dir, cache_folder()  # pyright: ignore[reportAttributeAccessIssue]
            kept = bool(folder and cache and str(folder).startswith(str(cache / "compiled")))
        return pickle.dumps(Surroundings(environment | variables, settings, kept, versions()))

    def enter(self) -> None:
        """Makes this process have them; raises `WrongWorker` if its libraries are others."""
        if found := others(self.versions):
            raise WrongWorker(
                f"A worker has {found}: its numbers need not be those of the driver. Install the driver's "
                f"versions there ({sys.executable})."
            )
        os.environ.update(self.environment)
        if not self.settings:
            return
        import jax

        for name, value in self.settings.items():
            if getattr(jax.config, name) != value:
                jax.config.update(name, value)
        if self.kept:
            from benchmarks.compiled import kept_programs

            _KEPT.enter_context(kept_programs())


_KEPT = contextlib.ExitStack()
"""The cache of compiled programs, open for as long as this process lives."""
_entered: list[bytes] = []
"""The surroundings, pickled, that this process has."""


def pack(function: Callable[[Any], Any], task: Any) -> bytes:
    """A call as bytes: what it needs is only imported when the worker has its settings."""
    return pickle.dumps((function, task))


def call(surroundings: bytes, packed: bytes, asked: list[int] | None = None) -> Answer:
    """Calls what was packed, with surroundings that were pickled; never raises.

    Signals stop it, and so does one that came before: its number is in `asked`, which is empty afterwards.
    """
    asked = [] if asked is None else asked
    try:
        with _stoppable(asked):
            try:
                if _entered != [surroundings]:
                    _entered.clear()
                    pickle.loads(surroundings).enter()
                    _entered.append(surroundings)
                function, task = pickle.loads(packed)
                return _portable(Answer("returned", function(task)))
            except Exception as error:
                return _portable(Answer("raised", error))
    except (KeyboardInterrupt, SystemExit):
        asked.clear()
        return Answer("stopped")


def _portable(answer: Answer) -> Answer:
    """An answer that the driver can read."""
    try:
        pickle.loads(pickle.dumps(answer))
        return answer
    except Exception as trouble:
        if answer.kind == "raised":
            return Answer("raised", RuntimeError(f"{type(answer.value).__name__}: {said(answer.value)}"))
        return Answer("raised", TypeError(f"{answer.value!r} cannot be sent back: {trouble}"))


@contextlib.contextmanager
def _stoppable(asked: list[int]) -> Iterator[None]:
    """Has SIGINT, SIGTERM and SIGUSR2 (Slurm's before the time is up) stop what runs, once.

    What sets handlers of its own, as a training does to write a checkpoint first, is asked instead.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python lets no other thread set handlers
        return

    def stop(number, frame):
        del frame
        asked.append(number)
        if len(asked) == 1:
            raise KeyboardInterrupt

    def forward(number, frame):
        handler = signal.getsignal(signal.SIGTERM)
        if callable(handler):
            handler(number, frame)

    handlers = {signal.SIGINT: stop, signal.SIGTERM: stop}
    if hasattr(signal, "SIGUSR2"):
        handlers[signal.SIGUSR2] = forward
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        if asked:
            raise KeyboardInterrupt
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
