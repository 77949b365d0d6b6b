"""What every test runs under: strict JAX, fixed seeds, both precisions, compiled programs kept between runs."""

import os
import random

import hypothesis
import jax
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


def pytest_configure(config: pytest.Config) -> None:
    jax.config.update("jax_numpy_rank_promotion", "raise")
    cache = str(config.cache.mkdir("jax"))  # pyright: ignore[reportOptionalMemberAccess]
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    # Tests that start a Python of their own inherit the cache through the environment.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"


@pytest.fixture(autouse=True)
def _seeds():
    random.seed(0)
    np.random.seed(0)


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
