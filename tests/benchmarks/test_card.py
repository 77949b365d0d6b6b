import ast
import dataclasses
import importlib
from pathlib import Path

import pytest

import benchmarks
from benchmarks import Card
from benchmarks.card import find
from benchmarks.experiments import EXPERIMENTS
from tests.benchmarks.toy import TOY


@dataclasses.dataclass
class Thawed:
    """Not frozen."""

    epochs: int = 1


@dataclasses.dataclass(frozen=True)
class WithPath:
    """Has a field that no flag can set."""

    folder: Path = Path()


@dataclasses.dataclass(frozen=True)
class WithSeed:
    """Has a field that is an option of every run."""

    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Silent:
    epochs: int = 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Thawed, "config of experiment 'x' must be a frozen dataclass"),
        (dict, "config of experiment 'x' must be a frozen dataclass"),
        (WithPath, "Field 'folder' of WithPath has a PosixPath as its default; use bool, int"),
        (WithSeed, "Field 'seed' of WithSeed must be renamed"),
        (Silent, "Silent needs a docstring"),
    ],
)
def test_unsuitable_configurations_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        Card("x", config, lambda config, key: ({}, None, None))


def test_unknown_experiments_are_answered_with_those_that_are_most_alike():
    assert find({"toy": TOY}, "toy") is TOY
    with pytest.raises(ValueError, match=r"no experiment 'tay': did you mean toy\? `credax --help` lists all"):
        find({"toy": TOY, "other": TOY}, "tay")
    with pytest.raises(ValueError, match=r"no experiment 'zzz'\. `credax --help`"):
        find({"toy": TOY, "other": TOY}, "zzz")
    with pytest.raises(ValueError, match="did you mean eventprop-yinyang or"):
        find(EXPERIMENTS, "evenprop-yinyan")


def test_registered_experiments_are_filed_under_their_names_and_fit_one_line_of_help():
    for name, experiment in EXPERIMENTS.items():
        assert experiment.name == name
        assert len(name) + len(experiment.summary) <= 68, "would wrap in the help of an 80-column terminal"
        assert all(figure.source for figure in experiment.published)


def test_every_name_of_the_package_is_found_where_the_type_checker_finds_it():
    tree = ast.parse(Path(benchmarks.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    declared = {alias.name: node.module for node in imports for alias in node.names}
    assert set(declared) <= set(dir(benchmarks))
    assert set(declared) == {*benchmarks._MODULES, "datasets"}
    for name, module in declared.items():
        value = getattr(benchmarks, name)
        expected = importlib.import_module("benchmarks.datasets") if name == "datasets" else None
        assert value is (expected or getattr(importlib.import_module(module), name))
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        _ = benchmarks.swep


def test_no_module_shares_its_name_with_a_public_function():
    """Or importing the one would hide the other."""
    files = {path.stem for path in Path(benchmarks.__file__).parent.iterdir()}
    assert not files & set(benchmarks._MODULES)
