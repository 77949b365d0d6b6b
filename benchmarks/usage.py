"""The overview that `credax --help` prints: all experiments by package, without importing any."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.registry import summaries
from benchmarks.version import __version__

if TYPE_CHECKING:
    from benchmarks.card import Card

COMMANDS = {
    "report": "Print published figures beside ours, for all runs.",
    "search": "Look for the best setting of an experiment.",
    "sweep": "Run an experiment at many settings, with several seeds each.",
}
"""The commands that are no experiments."""


def is_asked(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for the overview, or for the version."""
    return not arguments or arguments[0] in ("-h", "--help", "--version")


def answer(arguments: Sequence[str], experiments: "Mapping[str, Card]") -> int:
    """Prints what a command line of this kind asks for, and returns the exit status."""
    print(f"credax {__version__}" if arguments and arguments[0] == "--version" else usage(experiments))
    return 0 if arguments else 2


def usage(experiments: "Mapping[str, Card]") -> str:
    """One line per command, in groups."""
    groups = [
        (f"experiments, {group}" if group else "experiments", lines) for group, lines in summaries(experiments).items()
    ]
    groups.append(("all of them", COMMANDS))
    width = max(len(name) for _, lines in groups for name in lines)
    text = [
        "usage: credax COMMAND [OPTIONS]",
        "",
        "Runs the experiments of Credax, and yours: COMMAND is one of these, or my_file.py:function.",
        "`credax COMMAND --help` shows the settings of one.",
    ]
    for title, lines in groups:
        text += ["", f"{title}:", *(f"  {name:{width}}  {line}" for name, line in lines.items())]
    return "\n".join(text)
