"""Model files: one line of JSON that describes the network, then its leaves.

Nothing is pickled, so reading a stranger's file runs none of their code.
"""

import hashlib
import inspect
import itertools
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.tree_util import keystr, tree_flatten_with_path
from jaxtyping import PyTree

from benchmarks import _leaves
from benchmarks.atomic import write_bytes
from benchmarks.errors import InvalidInput
from benchmarks.version import __version__

Model = TypeVar("Model")

_FORMAT = "credax model"
_VERSION = 2


def save(path: str | os.PathLike[str], model: PyTree, hyperparameters: Mapping[str, Any]) -> None:
    """Writes a model to a file that `load` reads back bit for bit, whatever JAX's precision is set to.

    A file that `path` named before is replaced only once the new one is safely on the disk.

    **Arguments:**

    - `path`: the file; its folder must exist.
    - `model`: any pytree. Saved are JAX and NumPy arrays of booleans and numbers of any width, typed PRNG keys, and
      Python's booleans, numbers, texts and bytes. Functions and static fields are made anew by `load`.
    - `hyperparameters`: the arguments that make such a model: numbers, strings, booleans, None, and sequences (which
      come back as tuples) and dictionaries of these.

    **Raises:** `ValueError` if a leaf or a hyperparameter is of another kind, so that it could not come back as it is;
    `OSError` if the file cannot be written.
    """
    for name, value in hyperparameters.items():
        if not _is_json(value):
            raise InvalidInput(
                f"hyperparameters[{name!r}] = {value!r} has no faithful JSON form; use numbers, strings, booleans, "
                "None, and lists, tuples and string-keyed dictionaries of these"
            )
    encoded = [_leaves.encode(name, leaf) for name, leaf in _named(model)]
    body = b"".join(content for _, content in encoded)
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "credax": __version__,
        "hyperparameters": dict(hyperparameters),
        "leaves": [description for description, _ in encoded],
        "bytes": len(body),
    }
    header["sha256"] = _digest(header, body)
    write_bytes(Path(path), json.dumps(header).encode() + b"\n" + body)


def load(path: str | os.PathLike[str], make: Callable[..., Model]) -> Model:
    """Reads a model that `save` wrote.

    **Arguments:**

    - `path`: the file.
    - `make`: makes a model of the same structure, `make(**hyperparameters)`. It is only traced, so the arrays it would
      fill cost nothing.

    NumPy arrays come back as NumPy arrays where `make` makes them so too, else as JAX arrays.

    **Raises:** `ValueError` if the file is no model file, is damaged, or holds another network or precision than `make`
    makes; `FileNotFoundError` if there is none.
    """
    line, _, body = Path(path).read_bytes().partition(b"\n")
    header = _parse_header(line, path)
    expected = header.pop("sha256", None)
    if len(body) < header.get("bytes", 0):
        raise InvalidInput(
            f"{path} is truncated: {len(body)} bytes of leaves are left of {header['bytes']}; copy it again"
        )
    if _digest(header, body) != expected:
        raise InvalidInput(f"{path} is damaged: its SHA-256 is not the one that was written; copy it again")
    _check_header(header, path)
    skeleton = _skeleton(make, _tuples(header["hyperparameters"]), path)
    likes = _named(skeleton)
    _check_same(header["leaves"], [_leaves.describe(name, leaf) for name, leaf in likes], path)
    return _fill(skeleton, header["leaves"], [leaf for _, leaf in likes], body, path)


def _named(model: PyTree) -> list[tuple[str, Any]]:
    """The leaves that are saved, with their paths."""
    leaves = tree_flatten_with_path(model)[0]
    return [(keystr(path), leaf) for path, leaf in leaves if _leaves.is_saved(leaf)]


def _parse_header(line: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        header = json.loads(line)
        json.dumps(header)  # for the checksum, which one that is nested too deeply would break
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise InvalidInput(f"{path} is not a Credax model file, or its first line is damaged")
    if header.get("version") != _VERSION:
        raise InvalidInput(
            f"{path} has version {header.get('version')} of the format, written by credax {header.get('credax')}; "
            f"this credax, {__version__}, reads version {_VERSION}"
        )
    if not isinstance(header.get("bytes", 0), int):
        raise InvalidInput(f"{path} is damaged: its header gives {header['bytes']!r} as the number of bytes")
    return header


def _check_header(header: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Refuses a header that `save` does not write; a checksum is no obstacle to whoever makes up a file."""
    leaves = header.get("leaves")
    sound = isinstance(header.get("hyperparameters"), dict) and isinstance(leaves, list)
    for leaf in leaves if isinstance(leaves, list) else ():
        sound = sound and isinstance(leaf, dict)
        sound = sound and isinstance(leaf.get("path"), str) and isinstance(leaf.get("dtype"), str)
        sound = sound and isinstance(leaf.get("shape"), list) and all(_is_length(n) for n in leaf["shape"])
        sound = sound and isinstance(leaf.get("key", ""), str) and _is_length(leaf.get("bytes", 0))
    if not sound:
        raise InvalidInput(f"{path} is damaged: its header does not list hyperparameters and leaves as `save` does")


def _is_length(value: Any) -> bool:
    return type(value) is int and value >= 0


def _skeleton(make: Callable[..., Model], hyperparameters: dict[str, Any], path: str | os.PathLike[str]) -> Model:
    """What `make` makes, traced, with the shapes of JAX arrays in their place and everything else as it is."""
    try:
        inspect.signature(make).bind(**hyperparameters)
    except TypeError as error:
        given = ", ".join(hyperparameters) or "none"
        raise InvalidInput(f"{path} has other hyperparameters ({given}) than make takes: {error}") from error
    except ValueError:  # some builtins have no signature
        pass
    rest: list[Model] = []

    def arrays() -> Model:
        arrays, others = eqx.partition(make(**hyperparameters), lambda leaf: isinstance(leaf, jax.Array))
        rest.append(others)
        return arrays

    try:
        return eqx.combine(jax.eval_shape(arrays), rest[0])
    except Exception as error:  # whatever hyperparameters of a stranger's file make it do
        raise InvalidInput(
            f"{path}: make fails with the file's hyperparameters, {type(error).__name__}: {error}"
        ) from error


def _fill(
    skeleton: Model, saved: list[dict[str, Any]], likes: list[Any], body: bytes, path: str | os.PathLike[str]
) -> Model:
    try:
        sizes = [_leaves.size(description, like) for description, like in zip(saved, likes, strict=True)]
        if sum(sizes) != len(body):
            raise ValueError(f"its leaves need {sum(sizes)} bytes, but there are {len(body)}")
        starts = itertools.accumulate(sizes, initial=0)
        pieces = [body[start : start + length] for start, length in zip(starts, sizes, strict=False)]
        filled = iter([_leaves.decode(*leaf) for leaf in zip(saved, pieces, likes, strict=True)])
    except (ValueError, KeyError, TypeError) as error:  # of a file that somebody made up
        raise InvalidInput(f"{path} is damaged: {error}") from error
    return jax.tree.map(lambda leaf: next(filled) if _leaves.is_saved(leaf) else leaf, skeleton)


def _digest(header: dict[str, Any], body: bytes) -> str:
    return hashlib.sha256(json.dumps(header).encode() + body).hexdigest()


def _check_same(saved: list[dict[str, Any]], made: list[dict[str, Any]], path: str | os.PathLike[str]) -> None:
    for old, new in zip(saved, made, strict=False):
        if old["path"] != new["path"]:
            raise InvalidInput(f"{path} holds another network: leaf {old['path']} where make has {new['path']}")
        if old["shape"] != new["shape"]:
            raise InvalidInput(
                f"{path} holds another network: leaf {old['path']} has shape {tuple(old['shape'])}, "
                f"but make gives it {tuple(new['shape'])}"
            )
        if not _leaves.fits(old, new):
            raise InvalidInput(
                f"{path} holds another precision or type: leaf {old['path']} is {old['dtype']}, but make gives it "
                f"{new['dtype']}; call load in the precision of the file (jax.enable_x64), then convert"
            )
    if len(saved) != len(made):
        longer = max(saved, made, key=len)
        owner = "the file" if longer is saved else "make"
        raise InvalidInput(
            f"{path} holds another network: only {owner} has leaf {longer[min(len(saved), len(made))]['path']}"
        )


def _is_json(value: Any) -> bool:
    try:
        return _tuples(json.loads(json.dumps(value))) == _tuples(value)
    except (TypeError, ValueError, RecursionError):
        return False


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(entry) for key, entry in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
