import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from benchmarks.cache import cache_folder
from benchmarks.cli import main
from benchmarks.compiled import OLDEST, kept_programs
from tests.benchmarks.toy import EXPERIMENTS

CACHE_DIR = "jax_compilation_cache_dir"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A home of its own, and a JAX that was told of no folder, other than in all other tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update(CACHE_DIR, None)
    compilation_cache.reset_cache()
    yield tmp_path / "cache" / "credax" / "compiled"
    jax.config.update(CACHE_DIR, before)
    compilation_cache.reset_cache()


def programs(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*-cache")}


def test_a_second_run_compiles_nothing(cache, tmp_path):
    command = ["toy", "--epochs", "2", "--results", str(tmp_path / "results")]
    assert main(command, EXPERIMENTS) == 0
    first = programs(cache)
    assert len(first) >= 3  # at least init, epoch and finish
    assert jax.config.jax_compilation_cache_dir is None
    assert main(command, EXPERIMENTS) == 0
    assert programs(cache) == first
    (machine,) = cache.iterdir()
    assert machine.stat().st_mode & 0o077 == 0  # nobody else's programs are run


def test_it_can_be_switched_off(cache, tmp_path):
    arguments = ["--epochs", "2", "--results", str(tmp_path / "results"), "--no-compilation-cache"]
    assert main(["toy", *arguments], EXPERIMENTS) == 0
    assert not cache.exists()
    with kept_programs(enabled=False) as folder:
        assert folder is None


def test_what_is_older_than_a_week_is_dropped(cache):
    with kept_programs() as folder:
        assert folder is not None and folder.parent == cache
    other = cache / "another machine"
    other.mkdir()
    for place in (folder, other):
        for name, age in (("old", OLDEST + 60), ("young", OLDEST - 60)):
            (place / name).write_bytes(b"")
            os.utime(place / name, (time.time() - age,) * 2)
    with kept_programs():
        assert {path.name for path in cache.rglob("*") if path.is_file()} == {"young"}


def test_the_users_own_folder_is_left_alone(cache, tmp_path):
    jax.config.update(CACHE_DIR, str(tmp_path / "mine"))
    with kept_programs() as folder:
        assert folder is None
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    assert not cache.exists()


def test_settings_are_as_before_in_the_end(cache):
    names = (CACHE_DIR, "jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_min_entry_size_bytes")
    before = [getattr(jax.config, name) for name in names]
    with pytest.raises(ZeroDivisionError), kept_programs():
        assert [getattr(jax.config, name) for name in names] != before
        raise ZeroDivisionError
    assert [getattr(jax.config, name) for name in names] == before


@pytest.mark.parametrize("trouble", ["a file in its place", "read-only", "no home"])
def test_no_folder_is_no_trouble(cache, tmp_path, monkeypatch, trouble):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    if trouble == "a file in its place":
        (tmp_path / "cache").write_text("")
    elif trouble == "read-only":
        monkeypatch.setattr("benchmarks.compiled.os.access", lambda path, mode: False)  # root may write anywhere
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", no_home)
        assert cache_folder() is None
    with kept_programs() as folder:
        assert folder is None
        assert jax.config.jax_compilation_cache_dir is None


def test_importing_the_packages_sets_nothing():
    code = "import benchmarks, jax; print(jax.config.jax_compilation_cache_dir)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    shown = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)
    assert shown.stdout.strip() == "None", shown.stderr
