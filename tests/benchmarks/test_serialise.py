import enum
import errno
import hashlib
import json
import os
import pickle
import struct
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.serialise import load, save


class Layer(eqx.Module):
    weights: jax.Array
    gain: float
    name: str = eqx.field(static=True)


class Network(eqx.Module):
    layers: tuple[Layer, ...]
    mask: jax.Array
    noise: jax.Array
    activation: object
    trainable: bool


def make(sizes=(3, 4, 2), gain=1.5, seed=0):
    *keys, noise = jax.random.split(jax.random.key(seed), len(sizes))
    layers = tuple(
        Layer(jax.random.normal(key, (n, m)), gain, name=f"layer {n}")
        for key, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True)
    )
    return Network(layers, jnp.arange(3) > 1, noise, jax.nn.relu, True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.credax"


def test_round_trip(path, precision):
    hyperparameters = {"sizes": (3, 5, 2), "gain": 0.1, "seed": 7}
    model = make(**hyperparameters)
    save(path, model, hyperparameters)
    loaded = load(path, make)
    assert jax.tree.structure(loaded) == jax.tree.structure(model)
    assert eqx.tree_equal(loaded, model, typematch=True)
    assert loaded.layers[0].weights.dtype == precision
    assert jax.random.key_impl(loaded.noise) == jax.random.key_impl(model.noise)


@pytest.mark.parametrize(
    "dtype",
    [
        *("bfloat16", "int8", "uint32", "complex64", "float16", "bool"),
        *("int4", "uint4", "float8_e4m3fn", "float8_e5m2", "float8_e4m3b11fnuz"),
    ],
)
def test_every_dtype(path, dtype):
    model = {"a": jnp.arange(6).reshape(2, 3).astype(dtype), "empty": jnp.zeros((0, 2), dtype)}
    save(path, model, {})
    assert eqx.tree_equal(load(path, lambda: jax.tree.map(jnp.zeros_like, model)), model, typematch=True)


def bits(leaf):
    """A leaf's type, and its bytes."""
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return type(leaf).__name__, str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()
    return type(leaf).__name__, struct.pack("<d", leaf) if isinstance(leaf, float) else leaf


NAN = struct.unpack("<d", bytes.fromhex("010000000000f87f"))[0]
"""A NaN with a payload."""


@pytest.mark.parametrize(
    "leaf",
    [
        *(
            np.int64(2**40 + 7),
            np.float64(1 / 3),
            np.float64(1e300),
            np.complex128(1 / 3 + 1e300j),
            np.uint64(2**64 - 1),
        ),
        *(np.array([1 / 3, 1e300, np.nan, -0.0]), np.array([[2**40 + 7]]), np.zeros((0, 3)), np.bool_(True)),
        *(np.arange(4).astype("int4"), np.arange(4).astype("float8_e4m3fn"), np.array([1, 2], "bfloat16")),
        *(np.array([1.0, 2.0], ">f8"), np.arange(6.0).reshape(2, 3).T),
        *(2**70, -(2**70), 0, -1, 255, -128, 1 << 20000, True, False, 1 / 3, 1e300, -0.0, NAN, float("-inf")),
        *(1 / 3 - 1e300j, "Größe", "\ud800", "", b"\x00\n\xff"),
    ],
    ids=lambda leaf: f"{type(leaf).__name__}-{getattr(leaf, 'dtype', '')}",
)
def test_a_leaf_comes_back_as_it_was(path, leaf):
    """Bit for bit, with JAX's precision at 32 bits."""
    save(path, {"leaf": leaf}, {})
    array = isinstance(leaf, np.ndarray)
    loaded = load(path, lambda: {"leaf": np.zeros_like(leaf) if array else type(leaf)()})["leaf"]
    native = np.ascontiguousarray(leaf, leaf.dtype.name) if array else leaf  # in this machine's order of bytes
    assert bits(loaded) == bits(native)


def test_numpy_and_jax_arrays_take_each_others_place(path):
    """A network that was fetched from a device to be saved, and one that was made from NumPy arrays."""
    trained = np.array([1 / 3, 2.0], np.float32)
    save(path, trained, {})
    loaded = load(path, lambda: jnp.zeros(2))
    assert isinstance(loaded, jax.Array)
    np.testing.assert_array_equal(loaded, trained)
    save(path, jnp.asarray(trained), {})
    loaded = load(path, lambda: np.zeros(2))
    assert isinstance(loaded, jax.Array) and loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, trained)


@pytest.mark.parametrize(("name", "wide", "narrow"), [("float64", 1 / 3, "float32"), ("int64", 2**40 + 7, "int32")])
def test_what_todays_precision_would_round_is_refused_by_name(path, name, wide, narrow):
    save(path, {"w": np.array(wide, name)}, {})
    with pytest.raises(ValueError, match=rf"\['w'\] is {name}, but make gives it {narrow}.*enable_x64"):
        load(path, lambda: {"w": jnp.zeros((), int if name == "int64" else float)})
    with jax.enable_x64(True):
        loaded = load(path, lambda: {"w": jnp.zeros((), name)})["w"]
        assert loaded.item() == wide


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "leaf",
    [
        *(np.array(["a"]), np.array([{}]), np.array("2020-01-01", "datetime64[D]"), np.zeros(2, "f4,i4")),
        *(np.longdouble(1) / 3, np.ma.masked_array([1.0, 2.0], [True, False]), Fraction(1, 3), Colour.RED, {1, 2}),
        object(),
    ],
    ids=lambda leaf: type(leaf).__name__ + str(getattr(leaf, "dtype", "")),
)
def test_a_leaf_that_could_not_come_back_is_refused(path, leaf):
    with pytest.raises(ValueError, match=r"leaf \['a'\].*model file (cannot|would) keep"):
        save(path, {"a": leaf}, {})
    assert not path.exists()


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_keys_of_every_generator(path, implementation):
    keys = jax.random.split(jax.random.key(3, impl=implementation), 2)
    save(path, keys, {})
    loaded = load(path, lambda: jax.random.split(jax.random.key(0, impl=implementation), 2))
    assert jax.random.key_impl(loaded) == implementation
    np.testing.assert_array_equal(jax.random.key_data(loaded), jax.random.key_data(keys))


def test_non_finite_values_survive(path):
    save(path, {"v": jnp.array([jnp.inf, -jnp.inf, jnp.nan]), "refractory": float("inf")}, {"refractory": float("inf")})
    loaded = load(path, lambda refractory: {"v": jnp.zeros(3), "refractory": refractory})
    np.testing.assert_array_equal(loaded["v"], [np.inf, -np.inf, np.nan])
    assert loaded["refractory"] == np.inf


def test_the_header_is_one_line_of_json(path):
    save(path, make(), {"gain": 1.5})
    header = json.loads(path.read_bytes().split(b"\n", 1)[0])
    assert header["format"] == "credax model"
    assert header["hyperparameters"] == {"gain": 1.5}
    assert header["leaves"][0] == {"path": ".layers[0].weights", "shape": [3, 4], "dtype": "float32"}
    assert {leaf["path"] for leaf in header["leaves"]} == {
        ".layers[0].weights",
        ".layers[0].gain",
        ".layers[1].weights",
        ".layers[1].gain",
        ".mask",
        ".noise",
        ".trainable",
    }


def test_make_is_not_run(path):
    save(path, jnp.ones(3), {})

    def expensive():
        jax.debug.callback(lambda: pytest.fail("make was run"))
        return jnp.zeros(3)

    np.testing.assert_array_equal(load(path, expensive), np.ones(3))


@pytest.mark.parametrize(
    "value", [{1: 2}, {1, 2}, np.ones(2), object(), float("nan"), make], ids=lambda value: type(value).__name__
)
def test_hyperparameters_without_json_form(path, value):
    with pytest.raises(ValueError, match=r"hyperparameters\['a'\]"):
        save(path, make(), {"a": value})
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"PK\x03\x04", b"[1]\n", b'{"format": "other"}\n', pickle.dumps({"a": 1}), b"\xff\xfe\n"],
    ids=repr,
)
def test_not_a_model_file(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.credax is not a Credax model file"):
        load(path, make)


def test_no_file(path):
    with pytest.raises(FileNotFoundError, match=r"model\.credax"):
        load(path, make)


def test_newer_format(path):
    save(path, make(), {})
    path.write_bytes(path.read_bytes().replace(b'"version": 2', b'"version": 9', 1))
    with pytest.raises(ValueError, match=r"version 9 .* reads version 2"):
        load(path, make)


def test_truncated_anywhere(path):
    save(path, make(), {})
    content = path.read_bytes()
    for length in range(0, len(content), 13):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"not a Credax model file|truncated"):
            load(path, make)


@pytest.mark.parametrize("place", [-1, -100, -300])
def test_damaged_leaves(path, place):
    save(path, make(), {})
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        load(path, make)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"gain": 1.5', b'"gain": 1.7'), (b'"sha256"', b'"sha255"'), (b'"bytes"', b'"bytez"')], ids=repr
)
def test_damaged_header(path, old, new):
    save(path, make(), {"gain": 1.5})
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(ValueError, match="damaged"):
        load(path, make)


def forge(path, change, body=None):
    """Rewrites a file's header by `change`, with the checksum to it, as somebody with bad intentions would."""
    line, _, old = path.read_bytes().partition(b"\n")
    header = json.loads(line)
    change(header)
    header.pop("sha256", None)
    body = old if body is None else body
    header["sha256"] = hashlib.sha256(json.dumps(header).encode() + body).hexdigest()
    path.write_bytes(json.dumps(header).encode() + b"\n" + body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.pop("hyperparameters"), "is damaged: its header does not list"),
        (lambda h: h.update(hyperparameters=[1]), "is damaged: its header does not list"),
        (lambda h: h.update(hyperparameters={"width": 3}), r"has other hyperparameters \(width\) than make takes"),
        (lambda h: h.update(hyperparameters={"sizes": "abc"}), "make fails with the file's hyperparameters, TypeError"),
        (lambda h: h.pop("leaves"), "is damaged: its header does not list"),
        (lambda h: h.update(leaves=[3]), "is damaged: its header does not list"),
        (lambda h: h["leaves"][0].pop("path"), "is damaged: its header does not list"),
        (lambda h: h["leaves"][0].update(shape=[-3, -4]), "is damaged: its header does not list"),
        (lambda h: h["leaves"][0].update(shape=[10**15, 10**15]), "but make gives it"),
        (lambda h: h["leaves"][0].update(dtype="object"), "is object, but make gives it float32"),
        (lambda h: h["leaves"][-2].update(key="pickle"), "is damaged"),
        (lambda h: h["leaves"][-2].pop("key"), "is damaged"),
        (lambda h: h["leaves"][-1].pop("bytes"), "is damaged"),
        (lambda h: h["leaves"][-1].update(bytes=10**9), "is damaged: its leaves need"),
        (lambda h: h.update(bytes="3"), "is damaged: its header gives '3'"),
        (lambda h: h.update(bytes=3), "is damaged|Credax"),
    ],
)
def test_a_forged_header_is_a_value_error(path, change, message):
    save(path, make(), {"gain": 1.5})
    if message == "is damaged|Credax":  # fewer bytes than there are
        forge(path, change, path.read_bytes().partition(b"\n")[2][:3])
    else:
        forge(path, change)
    with pytest.raises(ValueError, match=message):
        load(path, make)


def test_a_header_nested_too_deeply_is_a_value_error(path):
    path.write_bytes(b"[" * 10**6 + b"\n")
    with pytest.raises(ValueError, match="is not a Credax model file"):
        load(path, make)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: make(sizes=(3, 6, 2)), r"leaf \.layers\[0\]\.weights has shape \(3, 4\), but make gives it \(3, 6\)"),
        (lambda: make(sizes=(3, 4)), r"leaf \.layers\[1\]\.weights where make has \.mask"),
        (lambda: make(gain=2), r"leaf \.layers\[0\]\.gain is float, but make gives it int"),
        (lambda: (make(), 1.0), r"leaf \.layers\[0\]\.weights where make has \[0\]\.layers\[0\]\.weights"),
        (lambda: eqx.tree_at(lambda m: m.trainable, make(), None), r"only the file has leaf \.trainable"),
    ],
    ids=["width", "depth", "type", "structure", "fewer"],
)
def test_another_network(path, other, message):
    save(path, make(), {})
    with pytest.raises(ValueError, match=message):
        load(path, other)


def test_more_leaves_than_the_file(path):
    save(path, [jnp.ones(2)], {})
    with pytest.raises(ValueError, match=r"only make has leaf \[1\]"):
        load(path, lambda: [jnp.ones(2), 3])


def test_wrong_precision(path):
    with jax.enable_x64(True):
        save(path, make(), {})
    with pytest.raises(ValueError, match=r"weights is float64, but make gives it float32.*enable_x64"):
        load(path, make)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file(path, monkeypatch, call):
    save(path, make(seed=1), {"seed": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left") as error:
            save(path, make(seed=2), {"seed": 2})
    assert "as it was before" in str(error.value)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert eqx.tree_equal(load(path, make), make(seed=1))
