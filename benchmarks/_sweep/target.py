"""What is swept: a registered experiment, or a function of the user's own."""

import dataclasses
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks._sweep.axes import field_type, parse_value
from benchmarks.card import Card, find
from benchmarks.errors import InvalidInput
from benchmarks.metric import Metric, metrics_of


@dataclasses.dataclass(frozen=True)
class Target:
    """A function `(config, key) -> (metrics, network, result)` with the class of its configuration."""

    name: str
    function: Callable[..., Any]
    config: type
    double: bool = False
    """Whether it needs float64."""
    counts: bool = False
    """Whether whole numbers in its configuration are counts, as in that of a `Card`."""
    metrics: tuple[Metric, ...] = ()
    """What it declares of its metrics."""


def find_target(text: str) -> Target:
    """The target that is meant by the name of an experiment or by `my_file.py:experiment`.

    Raises ValueError if there is no such experiment, file or function, or if it is not what a sweep needs.
    """
    path, colon, name = text.rpartition(":")
    if not colon:
        if text.endswith(".py"):
            raise InvalidInput(f"{text!r} names a file only: add the function, as in {text}:experiment.")
        from benchmarks.experiments import EXPERIMENTS  # late: the experiments need the rest of the package

        return as_target(find(EXPERIMENTS, text))
    module = _load(Path(path))
    if not hasattr(module, name):
        functions = [
            key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_")
        ]
        raise InvalidInput(f"{path} defines no {name!r}; its functions are: {', '.join(functions) or 'none'}.")
    return dataclasses.replace(as_target(getattr(module, name)), name=f"{Path(path).name}:{name}")


def as_target(experiment: Any) -> Target:
    """A `Target` from a `Card` or from a function whose first parameter is annotated with its configuration.

    Raises ValueError for anything else.
    """
    if isinstance(experiment, Card):
        return Target(
            experiment.name, experiment.function, experiment.config, experiment.double, True, metrics_of(experiment)
        )
    if not callable(experiment):
        raise InvalidInput(
            f"An experiment is a function (config, key) -> (metrics, network, result), got {experiment!r}."
        )
    name = getattr(experiment, "__qualname__", type(experiment).__name__)
    parameters = list(inspect.signature(experiment).parameters)
    if len(parameters) < 2:
        raise InvalidInput(f"{name} must take (config, key), but its parameters are ({', '.join(parameters)}).")
    config = typing.get_type_hints(experiment).get(parameters[0])
    if not (isinstance(config, type) and dataclasses.is_dataclass(config) and config.__dataclass_params__.frozen):  # pyright: ignore[reportAttributeAccessIssue]
        raise InvalidInput(
            f"The first parameter of {name}, {parameters[0]!r}, must be annotated with its configuration, a "
            f"class under @dataclasses.dataclass(frozen=True); it is {config!r}."
        )
    return Target(name, experiment, config, metrics=metrics_of(experiment))


def configure(target: Target, assignments: list[str]) -> Any:
    """The target's configuration: its defaults changed by `field=value` texts."""
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InvalidInput(f"{assignment!r} is not of the form field=value, as in `--set epochs=20`.")
        if name in values:
            raise InvalidInput(f"{name} is set twice.")
        values[name] = parse_value(name, field_type(target.config, name), text)
    try:
        return target.config(**values)
    except TypeError as error:
        raise InvalidInput(
            f"{target.config.__name__} cannot be made, give what is missing with --set: {error}"
        ) from error


def source(function: Callable[..., Any]) -> str:
    """The text of the module that defines `function` (of the function alone where there is no file), or ""."""
    function = inspect.unwrap(getattr(function, "func", function))
    for piece in (inspect.getmodule(function), function):
        try:
            return inspect.getsource(piece)  # pyright: ignore[reportArgumentType]
        except (OSError, TypeError):
            continue
    return ""


def _load(path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidInput(f"There is no file {str(path)!r}: write FILE.py:FUNCTION, or the name of an experiment.")
    spec = importlib.util.spec_from_file_location(f"swept_{path.stem}", path.resolve())
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{str(path)!r} is no Python file: its name must end in .py.")
    # As for a script, the file's neighbours can be imported; last in line, so that they hide nothing.
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and annotations given as text look their module up here
    spec.loader.exec_module(module)
    return module
