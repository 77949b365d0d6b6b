"""How experiments end: each package has its own `RESULTS`, and any of them will do."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.errors import InvalidInput

NOT_FINITE = "Not finite: "
NON_FINITE = "The network or a metric is NaN or infinite."


class RESULTS(eqx.Enumeration):
    """How an experiment ended, for those that use no package with a `RESULTS` of its own."""

    successful = "successful"  # so that it does not print as nothing
    non_finite = NON_FINITE


def enumeration_of(result: Any) -> Any:
    """The enumeration that a result is from: an `eqx.Enumeration` that has `successful`.

    Raises `ValueError` for anything else.
    """
    found = [cls for cls in _subclasses(eqx.Enumeration) if isinstance(result, cls)]
    if not (found and hasattr(found[0], "successful")):
        raise InvalidInput(
            "The third value that an experiment returns must be from an eqx.Enumeration with `successful`, such as "
            f"benchmarks.RESULTS.successful, gle.RESULTS.successful or sal.RESULTS.rate_saturated; got {result!r}."
        )
    return found[0]


def is_successful(result: Any) -> Any:
    """Whether a result, or each in an array of results, is a success."""
    return result == enumeration_of(result).successful


def message(result: Any) -> str:
    """What a single result says; "" for a success."""
    return enumeration_of(result)[result] if not bool(is_successful(result)) else ""


def reasons(result: Any, metrics: dict[str, np.ndarray]) -> list[str]:
    """Why each of many failed, from their results and metrics, `[n]` each: "" for a success.

    One that is `non_finite` names its metrics, if they are to blame.
    """
    result = jax.tree.map(np.asarray, result)
    cls, found = enumeration_of(result), [""] * len(jax.tree.leaves(result)[0])
    for i in np.flatnonzero(~np.asarray(is_successful(result))):
        one = jax.tree.map(lambda x, i=i: np.asarray(x[i]), result)
        names = ", ".join(name for name, values in metrics.items() if not np.isfinite(values[i]))
        unsound = names and hasattr(cls, "non_finite") and bool(one == cls.non_finite)
        found[i] = f"{NOT_FINITE}{names}." if unsound else message(one)
    return found


def outcome(*results: Any) -> Any:
    """What became of them all, results or arrays of results from one enumeration: the first failure, or success."""
    everything = jax.tree.map(lambda *values: jnp.concatenate([jnp.ravel(value) for value in values]), *results)
    failed = ~is_successful(everything)
    return jax.tree.map(lambda values: values[jnp.argmax(failed)], everything)


def fail_where(bad: Any, result: Any) -> Any:
    """`result`, or `non_finite` where `bad` is true and the result a success.

    An enumeration without `non_finite` is extended by it; compare with `Fit.failures`, then, or `message`.
    """
    cls = enumeration_of(result)
    wide = _with_non_finite(cls)
    promoted = result if wide is cls else wide.promote(result)
    return wide.where(bad & is_successful(result), wide.non_finite, promoted)


@functools.cache
def _with_non_finite(cls: Any) -> Any:
    if hasattr(cls, "non_finite"):
        return cls
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "non_finite": NON_FINITE}
    return type(cls)(cls.__name__, (cls,), names)


def _subclasses(cls: Any) -> list[Any]:
    return [found for child in cls.__subclasses__() for found in (child, *_subclasses(child))]
