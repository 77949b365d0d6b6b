import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from tests.conftest import drop_old_files


def test_precision_sets_the_default_dtype(precision):
    assert jnp.zeros(3).dtype == precision
    assert jax.jit(lambda x: x + 1.0)(jnp.zeros(3)).dtype == precision


def test_x64_gives_float64(x64):
    assert jnp.zeros(3).dtype == jnp.float64


def test_rank_promotion_raises():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.zeros((2, 3)) + jnp.zeros(3)


def test_warnings_are_errors():
    with pytest.raises(UserWarning, match="careful"):
        warnings.warn("careful", stacklevel=1)


def test_only_old_compiled_programs_are_dropped(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for file, written in ((old, 100.0), (new, 300.0)):
        file.touch()
        os.utime(file, (written, written))
    drop_old_files(tmp_path, before=200.0)
    assert [file.name for file in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("home", [True, False])
def test_pytest_runs_without_its_own_cache_and_keeps_compiled_programs_outside_the_checkout(tmp_path, home):
    variable = {"HOME": str(tmp_path)} if home else {"XDG_CACHE_HOME": str(tmp_path)}
    environment = {key: value for key, value in os.environ.items() if key != "XDG_CACHE_HOME"} | variable
    chosen = [f"{Path(__file__)}::test_rank_promotion_raises", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, "-m", "pytest", *chosen], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / (".cache" if home else "") / "credax" / "tests").is_dir()
