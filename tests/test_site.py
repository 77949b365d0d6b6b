"""The API pages of the site hold the public names of every package, each once."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def public(package: str) -> list[str]:
    """The names that `__init__.py` hands on, read as text: `from ... import name as name`."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [
        alias.asname for node in imports for alias in node.names if alias.asname and not alias.asname.startswith("__")
    ]


@pytest.mark.parametrize("package", ["eventprop", "gle", "sal", "hardware", "benchmarks"])
def test_every_public_name_has_an_entry(package):
    page = (ROOT / "docs" / "api" / f"{package}.md").read_text(encoding="utf-8")
    entries = re.findall(rf"^::: {package}\.(\w+)$", page, re.MULTILINE)
    names = [name for name in entries if name not in ("plot", "style")]  # modules that import matplotlib
    assert sorted(names) == sorted(public(package))
