"""Errors that explain themselves: the command line prints their message, and no traceback.

Each is also the built-in error that fits, so `except ValueError` and `except OSError` go on to work.
"""

import contextlib
import logging
import operator
import re
from collections.abc import Iterator
from typing import Any


class CredaxError(Exception):
    """An error whose message says all that a user needs: what is wrong, and what to do."""


class InvalidInput(CredaxError, ValueError):
    """An argument, a setting or the content of a file is not as it should be."""


class FileFault(CredaxError, OSError):
    """A file or a folder cannot be read, written or made."""


class MissingFile(CredaxError, FileNotFoundError):
    """A file is nowhere."""


class MissingPackage(CredaxError, ImportError):
    """An optional package is not installed."""


class RunIsBusy(CredaxError, OSError):
    """Another process is at work on the run."""


def said(error: Exception) -> str:
    """What an error says, without the traceback in which a compiled program buries the message of `eqx.error_if`."""
    return (re.findall(r"^\S*Error: (.+)$", str(error), re.MULTILINE) or str(error).splitlines() or [""])[-1]


@contextlib.contextmanager
def unlogged_callbacks() -> Iterator[None]:
    """Keeps JAX from printing, with two tracebacks, the error of a compiled program that it raises anyway."""
    logger = logging.getLogger("jax._src.callback")

    def drop(record):
        return "callback failed" not in record.getMessage()

    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)


def count(name: str, value: Any, least: int = 1) -> int:
    """A whole number of any integer type. Raises `InvalidInput` for anything else, and for less than `least`."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise InvalidInput(f"{name}: {value!r} is not a whole number.") from error
    if number < least:
        raise InvalidInput(f"{name}: must be {least} or more, got {number}.")
    return number
