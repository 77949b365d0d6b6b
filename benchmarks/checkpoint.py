"""Checkpoints of a training run, written so that neither a kill nor a full disk loses the previous one."""

import contextlib
import hashlib
import logging
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

KEEP = 2
"""How many checkpoints stay: the newest, and one before it in case the newest turns out to be damaged."""


class Checkpoints:
    """The checkpoints in `directory`, one per saved epoch, the newest `KEEP` of them (orbax).

    Orbax commits a checkpoint only when it is complete, so one that was cut off is never seen again. `owner` says
    whose checkpoints they are, as `describe` puts it; `restore` refuses those of somebody else.
    """

    def __init__(self, directory: pathlib.Path, owner: dict[str, str]):
        import orbax.checkpoint as ocp  # takes a second to import, and only runs on disk need it

        self._ocp = ocp
        self._owner = owner
        self._directory = directory.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEEP, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, epoch: int, state: PyTree) -> None:
        """Writes `state` as it is after `epoch` epochs; raises `OSError` if it cannot, with the older ones kept."""
        args = self._ocp.args
        arrays = _arrays(state)
        about = {"owner": self._owner, "state": describe(state), "digest": _digest(arrays)}
        kept = {name: value for name, value in arrays.items() if value.size}  # orbax refuses empty arrays
        content = args.Composite(about=args.JsonSave(about), arrays=args.StandardSave(kept))
        try:
            with _quiet():
                self._manager.save(epoch, args=content, force=True)
        except Exception as error:  # a full disk surfaces as OSError or as one of tensorstore's errors
            raise OSError(
                f"The checkpoint after epoch {epoch} could not be written to {self._directory}; earlier ones are kept. "
                f"Make room on the disk and resume the run. The cause: {error}"
            ) from error

    def restore(self, state: PyTree) -> tuple[PyTree, int] | None:
        """The newest checkpoint that is complete and sound, as `(state, epochs)`, or None if there is none yet.

        `state` gives the structure. A damaged checkpoint is dropped with a warning and the one before it is taken.
        Raises `ValueError` if all are damaged, or if they belong to another configuration or another network.
        """
        epochs = sorted(self._manager.all_steps(), reverse=True)
        for epoch in epochs:
            try:
                about, arrays = self._read(epoch)
            except Exception as error:  # whatever a damaged file makes orbax, tensorstore or json raise
                message = f"The checkpoint after epoch {epoch} in {self._directory} is damaged: {error}"
                warnings.warn(message, stacklevel=2)
                self._manager.delete(epoch)
                continue
            self._refuse_others(about["owner"], self._owner, "another configuration or other data")
            self._refuse_others(about["state"], describe(state), "another network")
            return _refill(state, arrays), epoch
        if epochs:
            raise ValueError(f"All checkpoints in {self._directory} are damaged; start the run anew.")
        return None

    def close(self) -> None:
        """Lets go of the directory."""
        self._manager.close()

    def _read(self, epoch: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        args = self._ocp.args
        about = self._manager.restore(epoch, args=args.Composite(about=args.JsonRestore()))["about"]
        content = self._manager.restore(epoch, args=args.Composite(arrays=args.StandardRestore()))["arrays"]
        arrays = {name: np.asarray(value) for name, value in content.items()}
        if _digest(arrays) != about["digest"]:
            raise ValueError("its arrays do not have the recorded checksum.")
        return about, arrays

    def _refuse_others(self, theirs: dict[str, str], ours: dict[str, str], what: str) -> None:
        difference = compare(theirs, ours)
        if difference:
            raise ValueError(
                f"The checkpoints in {self._directory} belong to {what} ({difference}). "
                "Resume with the settings that they were made with, or start a new run."
            )


def describe(tree: PyTree, *, digest: bool = False) -> dict[str, str]:
    """What `tree` holds, by path: numbers and strings as they are, arrays by dtype and shape, and with `digest` also
    by a checksum of their values."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    description = {}
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path)
        if isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
            description[name] = f"{leaf.dtype}{list(leaf.shape)}"
            if digest:
                description[name] += f" sha256 {_digest({name: _plain(leaf)})[:16]}"
        elif isinstance(leaf, bool | int | float | str):
            description[name] = repr(leaf)
    return description


def compare(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """The first few differences between two descriptions in words; empty if there are none."""
    names = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    words = [f"{name}: {theirs.get(name, 'absent')} there, {ours.get(name, 'absent')} here" for name in names[:3]]
    return "; ".join(words) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps orbax' threads from logging the traceback of an error that is raised anyway."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _plain(leaf: Any) -> np.ndarray:
    """`leaf` as a NumPy array; a typed PRNG key by its data."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _arrays(state: PyTree) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_flatten_with_path(eqx.filter(state, eqx.is_array))[0]
    return {jax.tree_util.keystr(path): _plain(leaf) for path, leaf in leaves}


def _refill(state: PyTree, arrays: dict[str, np.ndarray]) -> PyTree:
    def fill(path, leaf):
        if not eqx.is_array(leaf) or not leaf.size:
            return leaf
        value = jnp.asarray(arrays[jax.tree_util.keystr(path)])
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf))
        return value

    return jax.tree_util.tree_map_with_path(fill, state)


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        if arrays[name].size:
            digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
