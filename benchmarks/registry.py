"""The experiments that the command line knows, each imported only when it is asked for."""

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # a card brings JAX along, which takes seconds
    from benchmarks.card import Card


class Listed(NamedTuple):
    """What is known of an experiment before it is imported."""

    name: str
    """Its name on the command line."""
    summary: str
    """One line of help: the first line of its configuration's docstring."""
    module: str
    """The module whose `CARDS` hold its card."""


class Registry(Mapping[str, "Card"]):
    """The cards by name, in groups. Looking one up imports its experiment; names and summaries import nothing."""

    def __init__(self, groups: Mapping[str, tuple[Listed, ...]]):
        self.groups = dict(groups)
        """What is listed, by package."""
        self._listed = {listed.name: listed for group in self.groups.values() for listed in group}
        if len(self._listed) < sum(map(len, self.groups.values())):
            raise ValueError("Two experiments have the same name.")

    def __getitem__(self, name: str) -> "Card":
        module = importlib.import_module(self._listed[name].module)
        return {card.name: card for card in module.CARDS}[name]

    def __contains__(self, name: object) -> bool:
        return name in self._listed

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


def summaries(experiments: "Mapping[str, Card]") -> dict[str, dict[str, str]]:
    """The line of help of every experiment, by group and name; without groups they are all of one."""
    if isinstance(experiments, Registry):
        return {group: {one.name: one.summary for one in listed} for group, listed in experiments.groups.items()}
    return {"": {name: card.summary for name, card in sorted(experiments.items())}}
