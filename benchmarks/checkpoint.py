"""Checkpoints of a training run, written so that neither a kill nor a full disk loses the previous one."""

import contextlib
import hashlib
import logging
import pathlib
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from benchmarks.atomic import make_folder
from benchmarks.errors import FileFault, InvalidInput

KEEP = 2
"""How many checkpoints stay: the newest, and one before it in case the newest turns out to be damaged."""

ODD = ("uint4", "int2", "uint2", "float8_e3m4", "float8_e4m3", "float8_e8m0fnu", "float4_e2m1fn")
"""Dtypes of one byte an element that orbax' storage does not know."""


class Checkpoints:
    """The checkpoints in `directory`, one per saved epoch, the newest `KEEP` of them (orbax).

    Orbax commits a checkpoint only when it is complete, so one that was cut off is never seen again. `owner` says
    whose checkpoints they are, as `describe` puts it; `restore` refuses those of somebody else.

    **Raises:** `OSError` if the directory can neither be read nor made.
    """

    def __init__(self, directory: pathlib.Path, owner: dict[str, str]):
        import orbax.checkpoint as ocp  # takes a second to import, and only runs on disk need it

        self._ocp = ocp
        self._owner = owner
        self._directory = directory.absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEEP, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        try:
            self._manager = ocp.CheckpointManager(self._directory, options=options)
        except OSError as error:
            raise FileFault(f"The checkpoints in {self._directory} cannot be looked at: {error}") from error

    def save(self, epoch: int, state: PyTree) -> None:
        """Writes `state` as it is after `epoch` epochs; raises `OSError` if it cannot, with the older ones kept."""
        args = self._ocp.args
        arrays = _arrays(state)
        about = {"owner": self._owner, "state": describe(state), "digest": _digest(arrays)}
        kept = {name: _storable(value) for name, value in arrays.items() if value.size}  # orbax refuses empty arrays
        content = args.Composite(about=args.JsonSave(about), arrays=args.StandardSave(kept))
        try:
            with _quiet():
                self._manager.save(epoch, args=content, force=True)
        except Exception as error:  # a full disk surfaces as OSError or as one of tensorstore's errors
            raise FileFault(
                f"The checkpoint after epoch {epoch} could not be written to {self._directory}; earlier ones are kept. "
                f"Make room if the disk is full, and resume the run. The cause: {error}"
            ) from error

    def restore(self, state: PyTree) -> tuple[PyTree, int] | None:
        """The newest checkpoint that can be read, as `(state, epochs)`, or None if there is none yet.

        `state` gives the structure. If a newer one cannot be read, it is put aside, into a folder beside, with a
        warning. Nothing is ever deleted: what hinders the reading may be on this side and pass.

        Raises `ValueError` if none can be read, and leaves all where they are, or if they belong to another
        configuration or another network; `OSError` if the directory cannot be read.
        """
        try:
            epochs = sorted(self._manager.all_steps(), reverse=True)
        except OSError as error:
            raise FileFault(f"The checkpoints in {self._directory} cannot be looked at: {error}") from error
        unreadable: dict[int, Exception] = {}
        for epoch in epochs:
            try:
                about, arrays = self._read(epoch)
            except Exception as error:  # whatever a damaged file or a failing disk makes orbax or tensorstore raise
                unreadable[epoch] = error
                continue
            self._refuse_others(about["owner"], self._owner, "another configuration or other data")
            self._refuse_others(about["state"], describe(state), "another network")
            restored = _refill(state, arrays)
            self._put_aside(unreadable)
            return restored, epoch
        if unreadable:
            causes = "; ".join(f"epoch {epoch}: {_first_line(error)}" for epoch, error in unreadable.items())
            raise InvalidInput(
                f"None of the checkpoints in {self._directory} can be read ({causes}). All are still there: resume "
                "again where they can be read, with the versions of the libraries that config.json names, or start a "
                "new run."
            )
        return None

    def close(self) -> None:
        """Lets go of the directory."""
        self._manager.close()

    def _put_aside(self, unreadable: dict[int, Exception]) -> None:
        """Makes way for the checkpoints of the same epochs that the run will write again."""
        for epoch, error in unreadable.items():
            aside = self._directory.with_name(f"{self._directory.name}.unreadable")
            target = aside / f"{epoch}-{uuid.uuid4().hex[:8]}"
            make_folder(aside)
            try:
                (self._directory / str(epoch)).rename(target)
            except OSError as hindrance:
                raise FileFault(f"The unreadable checkpoint {target.name} cannot be put aside: {hindrance}") from error
            message = f"The checkpoint after epoch {epoch} cannot be read and is now {target}: {_first_line(error)}"
            warnings.warn(message, stacklevel=3)
        if unreadable:
            self._manager.reload()

    def _read(self, epoch: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        args = self._ocp.args
        about = self._manager.restore(epoch, args=args.Composite(about=args.JsonRestore()))["about"]
        if not all(isinstance(about.get(name), dict) for name in ("owner", "state")):
            raise ValueError("it does not say what it holds, as checkpoints of this version do.")
        with jax.enable_x64(True):  # orbax makes JAX arrays of them, which would lose half of the bits of wide ones
            content = self._manager.restore(epoch, args=args.Composite(arrays=args.StandardRestore()))["arrays"]
            arrays = {name: np.asarray(value) for name, value in content.items()}
        for name, array in arrays.items():
            dtype = about["state"].get(name, "").partition("[")[0]
            if dtype in ODD:
                arrays[name] = array.view(dtype)
        if _digest(arrays) != about.get("digest"):
            raise ValueError("its arrays do not have the recorded checksum.")
        return about, arrays

    def _refuse_others(self, theirs: dict[str, str], ours: dict[str, str], what: str) -> None:
        difference = compare(theirs, ours)
        if difference:
            raise InvalidInput(
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
        if isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct):
            description[name] = f"{leaf.dtype}{list(leaf.shape)}"
            if digest:
                description[name] += f" sha256 {_digest({name: _plain(leaf)})[:16]}"
        elif isinstance(leaf, bool | int | float | complex | str | bytes):
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


def _first_line(error: Exception) -> str:
    """What an error says, without the pages that tensorstore adds."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _plain(leaf: Any) -> np.ndarray:
    """`leaf` as a NumPy array in this machine's order of bytes; a typed PRNG key by its data."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array.astype(array.dtype.name, copy=False)


def _arrays(state: PyTree) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_flatten_with_path(eqx.filter(state, eqx.is_array))[0]
    return {jax.tree_util.keystr(path): _plain(leaf) for path, leaf in leaves}


def _storable(array: np.ndarray) -> np.ndarray:
    """The array as tensorstore can keep it: dtypes that it does not know as bytes."""
    return array.view(np.uint8) if array.dtype.name in ODD else array


def _refill(state: PyTree, arrays: dict[str, np.ndarray]) -> PyTree:
    def fill(path, leaf):
        if not eqx.is_array(leaf) or not leaf.size:
            return leaf
        value = arrays[jax.tree_util.keystr(path)]
        if not isinstance(leaf, jax.Array):
            return value[()]
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jnp.asarray(value), impl=jax.random.key_impl(leaf))
        if jax.dtypes.canonicalize_dtype(value.dtype) != value.dtype:
            raise InvalidInput(
                f"The checkpoint holds {value.dtype} at {jax.tree_util.keystr(path)}, which JAX would round as it is "
                "set now: resume in the precision of the run (jax.enable_x64)."
            )
        return jnp.asarray(value)

    return jax.tree_util.tree_map_with_path(fill, state)


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        if arrays[name].size:
            digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
