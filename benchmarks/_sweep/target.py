"""What is swept: a registered experiment, or a function of the user's own."""

import dataclasses
import functools
import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxtyping import PRNGKeyArray

from benchmarks._member import OnePiece
from benchmarks._sweep.axes import check_named, field_type, parse_value, sweepable_fields
from benchmarks.card import Card, find
from benchmarks.errors import InvalidInput
from benchmarks.metric import Metric, metrics_of
from benchmarks.training import Training, train


@dataclasses.dataclass(frozen=True)
class Target:
    """What is run, with the class of its configuration.

    A function `(config, key) -> (metrics, network, result)`, or one `config -> Training`, or both of a `Card`.
    """

    name: str
    function: Callable[..., Any]
    config: type
    training: Callable[[Any], Any] | None = None
    """Its training, where it has one."""
    double: bool = False
    """Whether it needs float64."""
    counts: bool = False
    """Whether whole numbers in its configuration are counts, as in that of a `Card`."""
    metrics: tuple[Metric, ...] = ()
    """What it declares of its metrics."""
    text: str = ""
    """What `find_target` finds it by, on any machine; "" if nothing does."""

    def at(self, config: Any) -> Training:
        """The training at a configuration; a function in one piece is one without epochs."""
        if self.training is None:
            return OnePiece(function=functools.partial(self.function, config))
        training = self.training(config)
        if not isinstance(training, Training):
            raise InvalidInput(f"{self.name} must return a benchmarks.Training, got {training!r}.")
        return training

    def card(self) -> Card:
        """The card of a user's function or training, so that it can be run from the command line as ours are."""

        def function(config: Any, key: PRNGKeyArray) -> tuple[Any, ...]:
            return self.function(config, key) if self.training is None else train(self.at(config), key)

        try:
            training = None if self.training is None else self.at
            return Card(self.name, self.config, function, training, double=self.double, metrics=self.metrics)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"{self.name} cannot be run from the command line: {error}") from error

    def defaults(self, config: dict[str, Any]) -> Any:
        """The default configuration; fields without a default are as in `config`, which is plain."""
        fields = [field for field in dataclasses.fields(self.config) if field.init]
        missing = [
            field.name
            for field in fields
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        ]
        return self.config(**{name: self.native(name, config[name]) for name in missing if name in config})

    def native(self, name: str, value: Any) -> Any:
        """A plain value as the configuration has it: JSON has lists for tuples, and texts for infinite numbers."""
        if isinstance(value, list):
            return tuple(self.native(name, item) for item in value)
        return float(value) if value in ("inf", "-inf") and self.kind(name) is not str else value

    def kind(self, name: str) -> type | None:
        """The type of a field that can be swept, bool, int, float or str."""
        return sweepable_fields(self.config).get(name)


def find_target(text: str) -> Target:
    """The target that is meant by the name of an experiment, `my_file.py:experiment` or `package.module:experiment`.

    Raises ValueError if there is no such experiment, file or function, or if it is not what can be run.
    """
    path, colon, name = text.rpartition(":")
    if not text:
        raise InvalidInput("Other processes find what stands at the top of a file, and nothing in a notebook.")
    if not colon:
        if text.endswith(".py"):
            raise InvalidInput(f"{text!r} names a file only: add the function, as in {text}:experiment.")
        from benchmarks.experiments import EXPERIMENTS  # late: the experiments need the rest of the package

        return as_target(find(EXPERIMENTS, text))
    is_module = not path.endswith(".py") and "/" not in path and importlib.util.find_spec(path) is not None
    module = importlib.import_module(path) if is_module else _running(Path(path), name) or _load(Path(path))
    if not hasattr(module, name):
        there = [key for key, value in vars(module).items() if not key.startswith("_") and _is_made_in(module, value)]
        raise InvalidInput(f"{path} defines no {name!r}; what can be run there: {', '.join(there) or 'nothing'}.")
    target = as_target(getattr(module, name))
    return target if is_module else dataclasses.replace(target, name=f"{Path(path).name}:{name}", text=text)


def _is_made_in(module: ModuleType, value: Any) -> bool:
    """Whether something is a card, or a function or a training that a module defines and does not only import."""
    kind = inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, Training))
    return isinstance(value, Card) or (kind and value.__module__ == module.__name__)


def load_source(source: str, path: str, name: str) -> Target:
    """The target `name` of a file that this machine does not have, or has otherwise, from its text.

    The module's name is made of the text's hash. What lies beside the file is not there to be imported.
    """
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    file = Path(path).name.removesuffix(".py")
    loader = _FromText(source, f"swept_{file}_{digest}.py")
    spec = importlib.util.spec_from_loader(f"swept_{file}_{digest}".replace(".", "_"), loader)
    assert spec is not None
    return dataclasses.replace(as_target(getattr(_executed(spec), name)), name=f"{file}.py:{name}")


class _FromText(importlib.abc.SourceLoader):
    """Loads a module from its text; tracebacks and `inspect.getsource` find it too."""

    def __init__(self, text: str, path: str):
        self._text, self._path = text, path

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._text.encode()


def as_target(experiment: Any) -> Target:
    """A `Target` from a `Card`, or from a function or class whose first parameter is annotated with its configuration.

    Raises ValueError for anything else.
    """
    if isinstance(experiment, Target):
        return experiment
    if isinstance(experiment, Card):
        e = experiment
        return Target(e.name, e.function, e.config, e.training, e.double, True, metrics_of(e), text=e.name)
    if not callable(experiment):
        raise InvalidInput(
            f"An experiment is a function (config, key) -> (metrics, network, result), got {experiment!r}."
        )
    name = getattr(experiment, "__qualname__", type(experiment).__name__)
    parameters = list(inspect.signature(experiment).parameters)
    annotated = experiment.__init__ if isinstance(experiment, type) else experiment
    config = typing.get_type_hints(annotated).get(parameters[0]) if parameters else None
    known = isinstance(config, type) and dataclasses.is_dataclass(config)
    if len(parameters) < 2 and not (known and len(parameters) == 1):
        raise InvalidInput(
            f"{name} must take (config, key), but its parameters are ({', '.join(parameters)}). One that makes a "
            "Training takes (config) alone, annotated with its configuration."
        )
    if not (isinstance(config, type) and known and config.__dataclass_params__.frozen):  # pyright: ignore[reportAttributeAccessIssue]
        raise InvalidInput(
            f"The first parameter of {name}, {parameters[0]!r}, must be annotated with its configuration, a "
            f"class under @dataclasses.dataclass(frozen=True); it is {config!r}."
        )
    training = experiment if len(parameters) == 1 else None
    return Target(name, experiment, config, training, metrics=metrics_of(experiment), text=_text(experiment, name))


def _text(function: Any, name: str) -> str:
    """Where another process finds a function: its module, or the file of the program that was started."""
    module = sys.modules.get(getattr(function, "__module__", ""))
    if module is None or getattr(module, name, None) is not function:
        return ""
    if module.__name__ != "__main__":
        return f"{module.__name__}:{name}"
    file = getattr(module, "__file__", None)  # a notebook has none
    return f"{file}:{name}" if file else ""


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
        check_named(target.config, name, values[name])
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


def source_hash(target: Target) -> str:
    """The SHA-256 of the source of a target."""
    return hashlib.sha256(source(target.function).encode()).hexdigest()


def _running(path: Path, name: str) -> ModuleType | None:
    """The program that was started, if it is this file: importing the file would run all that it does once more."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return main if file and hasattr(main, name) and Path(file).resolve() == path.resolve() else None


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
    return _executed(spec)


def _executed(spec: ModuleSpec) -> ModuleType:
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and annotations given as text look their module up here
    assert spec.loader is not None
    _executing.append(spec.name)
    try:
        spec.loader.exec_module(module)
    finally:
        _executing.pop()
    return module


_executing: list[str] = []
"""Files of users that are being imported."""


def refuse_scripts() -> None:
    """Raises `ValueError` while a file is imported for its functions, and would start a sweep of its own."""
    if _executing:
        raise InvalidInput(
            "A file whose functions are run by other processes is imported there: what it does as a program, such as "
            'calling sweep, must stand under if __name__ == "__main__":'
        )
