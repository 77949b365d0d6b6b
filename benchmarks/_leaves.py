"""The leaves of a model as bytes and back: the same bits, or a refusal that says why."""

import struct
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.errors import InvalidInput

KINDS = (bool, int, float, complex, str, bytes)
"""The Python values that are saved; what is derived from them, such as an enumeration's member, is not."""


def is_key(leaf: Any) -> bool:
    """Whether a leaf is an array of typed PRNG keys, or stands for one."""
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def is_saved(leaf: Any) -> bool:
    """Whether a leaf is data; functions and classes are not, and are made anew on loading."""
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct | np.ndarray | np.generic) or not callable(leaf)


def describe(name: str, leaf: Any) -> dict[str, Any]:
    """Path, shape and type of a leaf that is saved, or is to be filled.

    Raises `InvalidInput` for one whose bits cannot be kept.
    """
    if isinstance(leaf, np.ndarray | np.generic):
        return {"path": name, "shape": list(leaf.shape), "dtype": _check_dtype(name, leaf).name, "numpy": True}
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return {"path": name, "shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    if type(leaf) not in KINDS:
        raise InvalidInput(
            f"leaf {name} = {leaf!r} is a {type(leaf).__name__}, which a model file cannot keep; make it an array, a "
            "number or a text, or a static field that the hyperparameters decide on"
        )
    return {"path": name, "shape": [], "dtype": type(leaf).__name__}


def encode(name: str, leaf: Any) -> tuple[dict[str, Any], bytes]:
    """The description of a leaf, and its bytes: little-endian, arrays row by row."""
    description = describe(name, leaf)
    if is_key(leaf):
        description["key"] = implementation = jax.random.key_impl(leaf)
        if not isinstance(implementation, str):
            raise InvalidInput(f"leaf {name} holds keys of a generator without a name: {implementation}; use JAX's own")
        return description, np.asarray(jax.random.key_data(leaf)).tobytes()
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        array = np.asarray(leaf)
        return description, array.astype(np.dtype(array.dtype.name)).tobytes()  # in this machine's byte order
    if isinstance(leaf, float | complex):
        parts = (leaf,) if isinstance(leaf, float) else (leaf.real, leaf.imag)
        return description, struct.pack(f"<{len(parts)}d", *parts)
    if isinstance(leaf, str):
        content = leaf.encode("utf-8", "surrogatepass")
    elif isinstance(leaf, bytes):
        content = leaf
    else:  # Python's integers have no bound, and a boolean is one
        content = int(leaf).to_bytes(leaf.bit_length() // 8 + 1, "little", signed=True)
    return {**description, "bytes": len(content)}, content


def size(description: dict[str, Any], like: Any) -> int:
    """How many bytes a leaf has that is described in a file and is to take the place of `like`."""
    if is_key(like):
        like = jax.eval_shape(jax.random.key_data, like)
    if isinstance(like, jax.ShapeDtypeStruct | jax.Array | np.ndarray | np.generic):
        return int(np.prod(like.shape, dtype=object)) * np.dtype(description_dtype(description, like)).itemsize
    return {float: 8, complex: 16}.get(type(like)) or description["bytes"]


def description_dtype(description: dict[str, Any], like: Any) -> str:
    """The dtype of an array's bytes: as the file says, except that of keys."""
    return str(like.dtype) if description["dtype"].startswith("key<") else description["dtype"]


def decode(description: dict[str, Any], content: bytes, like: Any) -> Any:
    """The leaf with these bytes, of the kind that `like`, which `make` has made, and the one that was saved are of."""
    if is_key(like):
        data = jax.eval_shape(jax.random.key_data, like)
        words = np.frombuffer(content, data.dtype).reshape(data.shape)
        return jax.random.wrap_key_data(jnp.asarray(words), impl=description["key"])
    if isinstance(like, jax.ShapeDtypeStruct | jax.Array | np.ndarray | np.generic):
        array = np.frombuffer(content, np.dtype(description["dtype"])).reshape(description["shape"])
        if not description.get("numpy") or isinstance(like, jax.ShapeDtypeStruct | jax.Array):
            return jnp.asarray(array)
        return array[()] if isinstance(like, np.generic) else array.copy()  # writable, and owner of its bytes
    if isinstance(like, float | complex):
        return type(like)(*struct.unpack(f"<{len(content) // 8}d", content))
    if isinstance(like, str):
        return content.decode("utf-8", "surrogatepass")
    if isinstance(like, bytes):
        return content
    return type(like)(int.from_bytes(content, "little", signed=True))


def fits(description: dict[str, Any], like: dict[str, Any]) -> bool:
    """Whether a leaf of a file has the type that `make` gives it, so that it can be filled in without a conversion."""
    wanted = like["dtype"]
    if like.get("numpy") and not description.get("numpy"):
        wanted = jax.dtypes.canonicalize_dtype(np.dtype(wanted)).name  # as JAX would have taken it in
    return description["dtype"] == wanted


def _check_dtype(name: str, leaf: np.ndarray | np.generic) -> np.dtype:
    dtype = leaf.dtype
    number = jnp.issubdtype(dtype, np.number) and dtype not in (np.longdouble, np.clongdouble)
    if not (number or dtype == np.dtype(bool) or dtype in (np.float64, np.complex128)):
        raise InvalidInput(
            f"leaf {name} is a NumPy array of {dtype}, which a model file cannot keep; use booleans or numbers of at "
            "most 64 bits, real or imaginary part"
        )
    if isinstance(leaf, np.ndarray) and type(leaf) is not np.ndarray:
        raise InvalidInput(
            f"leaf {name} is a {type(leaf).__name__}, of which a model file would keep only the numbers; save "
            "np.asarray of it, and what else it holds as a leaf of its own"
        )
    return dtype
