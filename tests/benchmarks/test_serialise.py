import errno
import json
import os
import pickle

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


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "uint32", "complex64", "float16"])
def test_every_dtype(path, dtype):
    model = {"a": jnp.arange(6).reshape(2, 3).astype(dtype), "empty": jnp.zeros((0, 2), dtype)}
    save(path, model, {})
    assert eqx.tree_equal(load(path, lambda: jax.tree.map(jnp.zeros_like, model)), model, typematch=True)


def test_numpy_leaves_come_back_as_jax_arrays(path):
    save(path, [np.array([0.1, 2.0]), np.float32(3.0)], {})
    vector, scalar = load(path, lambda: [np.zeros(2), np.float32(0.0)])
    assert isinstance(vector, jax.Array)
    np.testing.assert_array_equal(vector, np.array([0.1, 2.0], np.float32))
    assert scalar == 3.0


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
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 9', 1))
    with pytest.raises(ValueError, match=r"version 9 .* reads version 1"):
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
    assert "as it was before" in error.value.__notes__[0]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert eqx.tree_equal(load(path, make), make(seed=1))
