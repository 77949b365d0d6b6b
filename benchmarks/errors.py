"""Errors that explain themselves: the command line prints their message, and no traceback.

Each is also the built-in error that fits, so `except ValueError` and `except OSError` go on to work.
"""


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
