"""How the experiments are laid out: arrows one way, tests beside each, cards as they are listed."""

import ast
import graphlib
import importlib
from pathlib import Path

import pytest

import benchmarks.experiments
from benchmarks.experiments import EXPERIMENTS

ROOT = Path(__file__).parents[3]
PACKAGES = ("benchmarks", "eventprop", "gle", "hardware", "sal")
HERE = Path(benchmarks.experiments.__file__).parent
FOLDERS = sorted(path.parent for path in HERE.rglob("model.py"))


def modules():
    """Name to file, of the whole package."""
    files = (ROOT / "benchmarks").rglob("*.py")
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}
    return {name: path for name, path in named.items() if not name.startswith("benchmarks.speed")}


def only_for_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(tree, known):
    """The modules that a file imports, at its top or in a function, without those for type checkers alone."""
    found, todo = set(), [tree]
    while todo:
        node = todo.pop()
        if only_for_types(node):
            continue
        todo.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from package import name` is of the module `package.name` if there is one, else of the package itself.
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found.update(name if name in known else node.module for name in names)
    return found & set(known)


@pytest.fixture(scope="module")
def graph():
    known = modules()
    return {name: imports(ast.parse(path.read_text()), known) - {name} for name, path in known.items()}


def test_the_walk_finds_imports_in_functions_and_passes_by_those_for_types():
    known = {"a", "a.b", "c", "d"}
    source = "from a import b, x\nif TYPE_CHECKING:\n    import d\ndef f():\n    import c\n"
    assert imports(ast.parse(source), known) == {"a", "a.b", "c"}


def test_nothing_imports_in_circles(graph):
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_module_hides_a_public_name():
    """Importing `package.name` later would replace the object `name` of the package by the module."""
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")):
        package = ".".join(path.parent.relative_to(ROOT).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                name = alias.asname or alias.name
                if (path.parent / f"{name}.py").exists():
                    # Then it is this module, or comes from it, and the import that replaces has been already.
                    assert node.module in (package, f"{package}.{name}"), f"{package}.{name}"


def test_figures_import_models_and_cards_import_both_and_nothing_the_other_way(graph):
    ranks = {"card": 2, "figures": 1}
    for name, targets in graph.items():
        if not name.startswith("benchmarks.experiments."):
            continue
        rank = ranks.get(name.split(".")[-1], 0)
        for target in targets:
            other = ranks.get(target.split(".")[-1], 0) if target.startswith("benchmarks.experiments.") else 0
            assert other < rank or other == rank < 2, f"{name} imports {target}"
    assert not any("matplotlib" in path.read_text() for path in HERE.rglob("model.py"))


def test_figures_do_not_make_what_they_draw(graph):
    """They are given a fit, and neither keys, nor the loop that trains."""
    for path in HERE.rglob("figures.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"train", "fit_in_one_piece", "execute", "learn", "lessons"}, path


def test_every_experiment_has_its_tests_and_its_card():
    tests = {path.relative_to(Path(__file__).parent) for path in Path(__file__).parent.rglob("test_*.py")}
    for folder in FOLDERS:
        package, name = folder.relative_to(HERE).parts
        assert Path(package, f"test_{name}.py") in tests
        assert (folder / "card.py").is_file() and (folder / "__init__.py").is_file()
    assert {path.name for path in HERE.iterdir() if path.is_dir()} - {"__pycache__"} == {
        folder.parent.name for folder in FOLDERS
    }


def test_every_card_is_listed_once_with_its_own_summary():
    listed = {one.name: one for group in EXPERIMENTS.groups.values() for one in group}
    assert list(EXPERIMENTS) == list(listed)
    for name, one in listed.items():
        assert EXPERIMENTS[name].name == name and EXPERIMENTS[name].summary == one.summary
    cards = [
        card.name
        for module in {one.module for one in listed.values()}
        for card in importlib.import_module(module).CARDS
    ]
    assert sorted(cards) == sorted(listed)
    assert {one.module for one in listed.values()} == {
        ".".join((folder / "card").relative_to(ROOT).parts) for folder in FOLDERS
    }
