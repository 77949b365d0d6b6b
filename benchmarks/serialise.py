"""Model files: one line of JSON that describes the network, then its leaves.

Nothing is pickled, so reading a stranger's file runs none of their code.
"""

import hashlib
import importlib.metadata
import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path, tree_map_with_path
from jaxtyping import PyTree

from benchmarks.atomic import write_bytes

Model = TypeVar("Model")

_FORMAT = "credax model"
_VERSION = 1


def save(path: str | os.PathLike[str], model: PyTree, hyperparameters: Mapping[str, Any]) -> None:
    """Writes a model to a file that `load` reads back bit for bit.

    A file that `path` named before is replaced only once the new one is safely on the disk.

    **Arguments:**

    - `path`: the file; its folder must exist.
    - `model`: any pytree. Its JAX and NumPy arrays (which come back as JAX arrays), typed PRNG keys and Python numbers
      are saved; other leaves and static fields are made anew by `load`.
    - `hyperparameters`: the arguments that make such a model: numbers, strings, booleans, None, and sequences (which
      come back as tuples) and dictionaries of these.

    **Raises:** `ValueError` if a hyperparameter has no faithful JSON form; `OSError` if the file cannot be written.
    """
    for name, value in hyperparameters.items():
        if not _is_json(value):
            raise ValueError(
                f"hyperparameters[{name!r}] = {value!r} has no faithful JSON form; use numbers, strings, booleans, "
                "None, and lists, tuples and string-keyed dictionaries of these"
            )
    model = jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray | np.generic) else leaf, model)
    body = io.BytesIO()
    eqx.tree_serialise_leaves(
        body, jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, model)
    )
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "credax": _credax_version(),
        "hyperparameters": dict(hyperparameters),
        "leaves": _describe(model),
        "bytes": body.getbuffer().nbytes,
    }
    header["sha256"] = _digest(header, body.getvalue())
    write_bytes(Path(path), json.dumps(header).encode() + b"\n" + body.getvalue())


def load(path: str | os.PathLike[str], make: Callable[..., Model]) -> Model:
    """Reads a model that `save` wrote.

    **Arguments:**

    - `path`: the file.
    - `make`: makes a model of the same structure, `make(**hyperparameters)`. It is only traced, so the arrays it would
      fill cost nothing.

    **Raises:** `ValueError` if the file is no model file, is damaged, or holds another network or precision than `make`
    makes; `FileNotFoundError` if there is none.
    """
    line, _, body = Path(path).read_bytes().partition(b"\n")
    header = _parse_header(line, path)
    expected = header.pop("sha256", None)
    if len(body) < header.get("bytes", 0):
        raise ValueError(
            f"{path} is truncated: {len(body)} bytes of leaves are left of {header['bytes']}; copy it again"
        )
    if _digest(header, body) != expected:
        raise ValueError(f"{path} is damaged: its SHA-256 is not the one that was written; copy it again")
    skeleton = eqx.filter_eval_shape(make, **_tuples(header["hyperparameters"]))
    _check_same(header["leaves"], _describe(skeleton), path)
    like = jax.tree.map(lambda leaf: jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf, skeleton)
    model = eqx.tree_deserialise_leaves(io.BytesIO(body), like)
    keys = {leaf["path"]: leaf["key"] for leaf in header["leaves"] if "key" in leaf}
    return tree_map_with_path(
        lambda p, leaf: jax.random.wrap_key_data(leaf, impl=keys[keystr(p)]) if keystr(p) in keys else leaf, model
    )


def _parse_header(line: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError(f"{path} is not a Credax model file, or its first line is damaged")
    if header.get("version") != _VERSION:
        raise ValueError(
            f"{path} has version {header.get('version')} of the format, written by credax {header.get('credax')}; "
            f"this credax, {_credax_version()}, reads version {_VERSION}"
        )
    return header


def _digest(header: dict[str, Any], body: bytes) -> str:
    return hashlib.sha256(json.dumps(header).encode() + body).hexdigest()


def _describe(model: PyTree) -> list[dict[str, Any]]:
    """Path, shape and dtype of each leaf that is saved, and the generator of a PRNG key."""
    leaves = []
    for path, leaf in tree_flatten_with_path(model)[0]:
        if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
            description = {"path": keystr(path), "shape": list(leaf.shape), "dtype": str(leaf.dtype)}
            if _is_key(leaf) and isinstance(leaf, jax.Array):
                description["key"] = str(jax.random.key_impl(leaf))
            leaves.append(description)
        elif isinstance(leaf, bool | int | float | complex):
            leaves.append({"path": keystr(path), "shape": [], "dtype": type(leaf).__name__})
    return leaves


def _check_same(saved: list[dict[str, Any]], made: list[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    for old, new in zip(saved, made, strict=False):
        if old["path"] != new["path"]:
            raise ValueError(f"{path} holds another network: leaf {old['path']} where make has {new['path']}")
        if old["shape"] != new["shape"]:
            raise ValueError(
                f"{path} holds another network: leaf {old['path']} has shape {tuple(old['shape'])}, "
                f"but make gives it {tuple(new['shape'])}"
            )
        if old["dtype"] != new["dtype"]:
            raise ValueError(
                f"{path} holds another precision or type: leaf {old['path']} is {old['dtype']}, but make gives it "
                f"{new['dtype']}; call load in the precision of the file (jax.enable_x64), then convert"
            )
    if len(saved) != len(made):
        longer = max(saved, made, key=len)
        owner = "the file" if longer is saved else "make"
        raise ValueError(
            f"{path} holds another network: only {owner} has leaf {longer[min(len(saved), len(made))]['path']}"
        )


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_json(value: Any) -> bool:
    try:
        return _tuples(json.loads(json.dumps(value))) == _tuples(value)
    except (TypeError, ValueError):
        return False


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(entry) for key, entry in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _credax_version() -> str:
    try:
        return importlib.metadata.version("credax")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (not installed)"
