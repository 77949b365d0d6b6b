"""What the API pages need to know of our code: how an `equinox.Module` is made, and how docstrings list things."""

import re
from typing import Any

import griffe

LINE = re.compile(r"(\w+(?:\([^)]*\))?(?: -> [^:]+)?(?:, \w+)*): ")
"""The beginning of `name: what it is`; a line that goes on is indented."""


class Modules(griffe.Extension):
    """Gives every `equinox.Module` without `__init__` that of a dataclass, and makes lists of `name: what it is`."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Once per package, when all of it has been read."""
        _visit(pkg)


def _visit(thing: griffe.Module | griffe.Class) -> None:
    for member in [thing, *thing.members.values()]:
        if not member.is_alias and member.docstring is not None:
            member.docstring.value = "\n\n".join(map(_paragraph, member.docstring.value.split("\n\n")))
    if isinstance(thing, griffe.Class) and "__init__" not in thing.members and _is_module(thing):
        thing.set_member("__init__", _init(thing))
    for member in list(thing.members.values()):
        if isinstance(member, griffe.Module | griffe.Class):
            _visit(member)


def _paragraph(text: str) -> str:
    if text.startswith("    "):  # an equation
        return text
    text = "".join(
        part if number % 2 else part.replace("[*", r"[\*") for number, part in enumerate(re.split("(`[^`]*`)", text))
    )
    lines = text.split("\n")
    if not LINE.match(lines[0]) or not all(LINE.match(line) or line.startswith("    ") for line in lines):
        return text
    return "\n".join(LINE.sub(r"- `\1`: ", line, count=1) if LINE.match(line) else line for line in lines)


def _bases(cls: griffe.Class) -> list[griffe.Class]:
    """All classes of ours that it is made of, the most general one first."""
    try:
        return [*reversed(cls.mro()), cls]
    except ValueError:
        return [cls]


def _is_module(cls: griffe.Class) -> bool:
    names = (base if isinstance(base, str) else base.canonical_path for c in _bases(cls) for base in c.bases)
    return any(name in ("equinox.Module", "typing.NamedTuple") for name in names)


def _init(cls: griffe.Class) -> griffe.Function:
    fields = {name: field for base in _bases(cls) for name, field in _fields(base).items()}
    parameters = [griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword), *fields.values()]
    return griffe.Function("__init__", parameters=griffe.Parameters(*parameters), parent=cls)


def _fields(cls: griffe.Class) -> dict[str, griffe.Parameter]:
    found = {}
    for name, member in cls.members.items():
        if not isinstance(member, griffe.Attribute) or member.annotation is None or "property" in member.labels:
            continue
        of_class = "class-attribute" in member.labels and "instance-attribute" not in member.labels
        if of_class or str(member.annotation).startswith(("eqx.Abstract", "ClassVar")):
            continue
        default = member.value
        if isinstance(default, griffe.ExprCall) and str(default.function).endswith("field"):
            given = {a.name: a.value for a in default.arguments if isinstance(a, griffe.ExprKeyword)}
            default = given.get("default", given.get("default_factory"))
        kind = griffe.ParameterKind.positional_or_keyword
        found[name] = griffe.Parameter(name, annotation=member.annotation, kind=kind, default=default)
    return found
