"""What every test runs under: strict JAX, fixed seeds, both precisions, compiled programs kept between runs."""

import gc
import os
import random
import time
from pathlib import Path

import hypothesis
import jax
import jaxtyping
import numpy as np
import pytest

# Jitted examples compile on first use, so no deadline; a failing example must fail again on the next machine.
# The fixtures below that hypothesis would object to only set a precision, which holds for all examples alike.
hypothesis.settings.register_profile(
    "credax",
    deadline=None,
    derandomize=True,
    max_examples=30,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("credax")


CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "credax" / "tests"
"""Compiled programs, shared by all checkouts: a second run compiles nothing, in whichever clone."""
OLDEST = 7 * 24 * 3600.0
"""Seconds after which a compiled program is dropped."""


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    CACHE.mkdir(parents=True, exist_ok=True)
    if not hasattr(config, "workerinput"):  # once, not in every worker of pytest-xdist
        drop_old_files(CACHE, time.time() - OLDEST)
    jax.config.update("jax_compilation_cache_dir", str(CACHE))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    # Tests that start a Python of their own inherit the cache through the environment.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"


def drop_old_files(folder: Path, before: float) -> None:
    """Removes the files of a folder that were last written before a moment; another run may do the same meanwhile."""
    for file in folder.iterdir():
        try:
            if file.is_file() and file.stat().st_mtime < before:
                file.unlink()
        except FileNotFoundError:
            continue


@pytest.fixture(autouse=True)
def _seeds():
    random.seed(0)
    np.random.seed(0)


MOST_MAPS = 30_000
"""Half of Linux' usual limit of memory maps per process (vm.max_map_count), beyond which LLVM aborts."""


@pytest.fixture(autouse=True, scope="module")
def _room_for_programs():
    """Compiled programs hold memory maps as long as they live: a worker that has very many forgets them."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def key():
    """A typed PRNG key."""
    return jax.random.key(0)


@pytest.fixture
def rng():
    """A NumPy generator."""
    return np.random.default_rng(0)


@pytest.fixture(params=["float32", "float64"])
def precision(request):
    """Runs the test in both precisions; its value is the NumPy dtype that new JAX arrays get."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.fixture
def x64():
    """Runs the test in float64."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def untyped(monkeypatch):
    """Runs the test as a user does, without the checks of annotations that tests have."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
