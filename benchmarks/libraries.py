"""The versions of what decides the numbers, told without JAX, which a worker has to import later."""

import functools
from collections.abc import Mapping
from importlib import metadata

from benchmarks.version import __version__

LIBRARIES = ("jax", "jaxlib", "equinox", "optax", "diffrax", "numpy")


@functools.cache
def _installed() -> dict[str, str | None]:
    return {"credax": __version__, **{name: _version(name) for name in LIBRARIES}}


def versions() -> dict[str, str | None]:
    """Of Credax and the libraries; None for one that is not installed as a package."""
    return dict(_installed())


def others(wanted: Mapping[str, str | None]) -> str:
    """What is here instead of the versions that are wanted, in words; "" if nothing is."""
    here = versions()
    return ", ".join(
        f"{name} {here.get(name)} instead of {version}" for name, version in wanted.items() if here.get(name) != version
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # running from a checkout
        return None
