"""The command line: one command per experiment, and `sweep` and `report`."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tyro

from benchmarks._execute import execute
from benchmarks._fit import explain
from benchmarks._report import examine
from benchmarks._search.cli import search_command
from benchmarks._sweep.cli import sweep_command
from benchmarks._sweep.target import find_target
from benchmarks.card import Card, find, precision
from benchmarks.compiled import kept_programs
from benchmarks.errors import CredaxError, InvalidInput
from benchmarks.table import final_table
from benchmarks.usage import COMMANDS, answer, is_asked


@dataclasses.dataclass(frozen=True)
class Options:
    """How to run an experiment."""

    seeds: int = 1
    """Number of seeds, run side by side."""
    seed: int = 0
    """The first of them."""
    resume: bool = False
    """Go on with the newest interrupted run that has these settings."""
    results: str = "results"
    """Folder for results."""
    compilation_cache: bool = True
    """Compiled programs are kept in ~/.cache/credax/compiled for a week, so that the next run compiles nothing, unless
    this is given."""


def main(arguments: Sequence[str] | None = None, experiments: Mapping[str, Card] | None = None) -> int:
    """Runs a command line, `sys.argv[1:]` unless `arguments` are given, and returns the exit status.

    0: all went well; 1: some seeds failed; 2: the command line, a file or a disk was not as it should be; 130:
    interrupted with Ctrl-C (a checkpoint was written).
    """
    if experiments is None:
        from benchmarks.experiments import EXPERIMENTS as experiments  # late, so that tests can do without them
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if is_asked(arguments):
        return answer(arguments, experiments)
    try:
        command, *rest = arguments
        if command in COMMANDS:
            _tyro(
                {"report": _report_command(experiments), "search": search_command, "sweep": sweep_command}[command],
                command,
                rest,
            )
            return 0
        card = find_target(command).card() if ":" in command else find(experiments, command)
        outcome = _tyro(_flags(card), command, rest)
        return _run(card, outcome.config, outcome.run)
    except CredaxError as error:
        print(f"credax: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("credax: interrupted; the same command with --resume goes on from the last checkpoint.", file=sys.stderr)
        return 130


def _tyro(command: Callable[..., Any], name: str, arguments: Sequence[str]) -> Any:
    """What a command or the flags of an experiment make of their arguments."""
    return tyro.cli(
        command,
        prog=f"credax {name}",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def _flags(experiment: Card) -> type:
    """What tyro reads the flags of an experiment from: its configuration beside `Options`."""
    flags = dataclasses.make_dataclass("Flags", [("config", experiment.config), ("run", Options)], frozen=True)
    flags.__doc__ = experiment.summary
    return flags


def _run(experiment: Card, config: Any, options: Options) -> int:
    settings = dataclasses.asdict(options)
    with kept_programs(settings.pop("compilation_cache")):
        return _execute(experiment, config, settings)


def _execute(experiment: Card, config: Any, settings: dict[str, Any]) -> int:
    run, outcome = execute(experiment, config, **settings)
    if experiment.figures is not None:  # before anything is printed, so that a reader who leaves does not stop them
        from benchmarks import style  # late: matplotlib takes long to import

        with precision(experiment.double), style.paper():
            experiment.figures(config, outcome, run.directory)
    print(final_table(run.summary() or {}, experiment.published))
    print(f"\nEverything is in {run.directory}")
    if outcome.failures:
        print(f"credax: {explain(outcome.failures, run.record['seeds'])}", file=sys.stderr)
    return 1 if outcome.failures else 0


def _report_command(experiments: Mapping[str, Card]) -> Callable[..., None]:
    def command(results: str = "results", markdown: bool = False) -> None:
        """Print published figures beside ours, for all runs.

        Args:
            results: Folder with the results.
            markdown: Print what stands in report.md, to be pasted into a page.
        """
        found = examine(results, experiments)
        print(found.markdown if markdown else found.text)
        if found.damaged:
            raise InvalidInput(f"{len(found.damaged)} things could not be read or written, as said above.")

    return command
