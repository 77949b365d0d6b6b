import gzip
import hashlib
import http.client
import io
import urllib.error

import numpy as np
import pytest

from benchmarks import datasets
from benchmarks.datasets import idx, lookup, mnist1d, speech_commands, yinyang


def sha256(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


# --- Yin-Yang -------------------------------------------------------------------------------------------------------
# The digests are those of the arrays that the authors' published generator makes (labels as little-endian int32).


DIGESTS = {
    "train": (
        "f5a4054d56f2a058f8250fba7ff9720458e1625db7af78a295e45701745b2228",
        "65830ec870152dd758e906d77605d1329d0535115459678aa0c2c19b88bef7e5",
    ),
    "validation": (
        "5eac358bdf2122763dce3703a79f3005e56e46a4db25ec329a07333d0f7b8093",
        "fb9b9e98a53bb9e7c1be926bd2ba5a2261d974b8ac4866c6d55319d2d6dc1f70",
    ),
    "test": (
        "7bab3ed668ed4992679cff6339fe21bfe7d0c921ddc6187eaa3bc6ef34b888d7",
        "3aa976ea6f871e278280164a640eb5857a6d895ce10246fac2a20d76df22737f",
    ),
}


def test_yinyang_equals_the_published_arrays():
    data = datasets.load("yinyang")
    for part, digests in DIGESTS.items():
        split = getattr(data, part)
        assert split.features.dtype == np.float64
        assert (sha256(split.features), sha256(split.labels)) == digests
        np.testing.assert_array_equal(split.features[:, 2:], 1 - split.features[:, :2])
    assert np.bincount(data.test.labels).tolist() == [350, 316, 334]
    assert data.classes == ("yin", "yang", "dot")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [5000, 1000, 1000]


def test_yinyang_areas():
    """Both drops have the same area, the disc has pi R^2 and the dots 2 pi r^2."""
    axis = (np.arange(2000) + 0.5) / 2000
    label = yinyang.classify(*np.meshgrid(axis, axis))
    areas = [np.mean(label == c) for c in range(3)]
    drop = np.pi * (0.25 - 2 * 0.01) / 2
    assert areas == pytest.approx([drop, drop, 0.02 * np.pi], abs=2e-5)


def test_yinyang_refuses_a_negative_size():
    with pytest.raises(ValueError, match="size = -1"):
        yinyang.sample(-1, 0)


def test_unknown_data_set():
    with pytest.raises(ValueError, match=r"'cifar'.*yinyang, mnist1d, mnist, fashion_mnist"):
        datasets.load("cifar")


# --- idx files ------------------------------------------------------------------------------------------------------


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.mark.parametrize("shape", [(7,), (3, 2, 4), (0,)])
def test_parse(shape, rng):
    array = rng.integers(256, size=shape, dtype=np.uint8)
    np.testing.assert_array_equal(idx.parse(idx_bytes(array)), array)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\0\0\x0d\x01\0\0\0\0", idx_bytes(np.zeros((2, 3), np.uint8))[:-1], b"\0\0\x08\x02\0\0\0\x01"),
        b"\0\0\x08\x04" + 4 * b"\0\x01\0\0",  # 2^64 elements, which int64 takes for none
    ],
    ids=["empty", "floats", "truncated", "no shape", "overflow"],
)
def test_parse_refuses(content):
    with pytest.raises(ValueError, match="content"):
        idx.parse(content)


@pytest.fixture
def archive(tmp_path, monkeypatch, rng):
    """A data set of 12 training and 4 test images in $CREDAX_DATA, a home without a cache, and no network."""
    arrays = {
        "train-images-idx3-ubyte": rng.integers(256, size=(12, 5, 5), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(12, dtype=np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(256, size=(4, 5, 5), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(4, dtype=np.uint8),
    }
    folder = tmp_path / "data" / "small"
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(array)))
    monkeypatch.setenv("CREDAX_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(lookup.urllib.request, "urlopen", refuse)
    digests = {name: hashlib.sha256(idx_bytes(array)).hexdigest() for name, array in arrays.items()}
    return idx.Archive("small", ("a",), "https://example.org/small", digests, validation=5)


def refuse(url, timeout):
    raise urllib.error.URLError("no network")


def test_archive_splits(archive):
    data = archive.load()
    assert data.train.features.shape == (7, 5, 5)
    assert data.train.labels.tolist() == list(range(7))
    assert data.validation.labels.tolist() == list(range(7, 12))
    assert data.test.labels.tolist() == list(range(4))
    assert data.test.labels.dtype == np.int32


def test_plain_files_are_read_too(archive, tmp_path):
    for path in (tmp_path / "data" / "small").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert len(archive.load().test) == 4


def test_cache_is_searched_after_the_data_folder(archive, tmp_path):
    cache = tmp_path / "home" / ".cache" / "credax"
    cache.mkdir(parents=True)
    (tmp_path / "data" / "small").rename(cache / "small")
    assert len(archive.load().test) == 4


def test_download_fills_the_cache(archive, tmp_path, monkeypatch):
    source = tmp_path / "data" / "small"
    monkeypatch.delenv("CREDAX_DATA")
    asked = []

    def serve(url, timeout):
        asked.append(url)
        return io.BytesIO((source / url.rpartition("/")[2]).read_bytes())

    monkeypatch.setattr(lookup.urllib.request, "urlopen", serve)
    archive.load()
    archive.load()
    assert len(asked) == 4
    assert asked[0] == "https://example.org/small/train-images-idx3-ubyte.gz"
    assert len(list((tmp_path / "home/.cache/credax/small").iterdir())) == 4


def test_damaged_download_is_not_kept(archive, tmp_path, monkeypatch):
    monkeypatch.delenv("CREDAX_DATA")
    monkeypatch.setattr(lookup.urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"<html>"))
    with pytest.raises(ValueError, match=r"https://example.org/small/train-images\S+ is damaged"):
        archive.load()
    assert not (tmp_path / "home").exists()


def test_missing_file_says_how_to_get_it(archive, tmp_path):
    (tmp_path / "data" / "small" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"t10k-labels.*CREDAX_DATA") as error:
        archive.load()
    for place in (tmp_path / "data" / "small", tmp_path / "home/.cache/credax/small", "https://example.org/small"):
        assert str(place) in str(error.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-9],
        lambda content: b"\x1f\x8b" + bytes(40),
        lambda content: gzip.compress(gzip.decompress(content)[:-1] + b"x"),
        lambda content: b"",
    ],
    ids=["truncated", "not gzip", "one byte changed", "empty"],
)
def test_damaged_file(archive, tmp_path, damage):
    path = tmp_path / "data" / "small" / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.gz is damaged.*delete it"):
        archive.load()


def serve_from(folder):
    def serve(url, timeout):
        return io.BytesIO((folder / url.rpartition("/")[2]).read_bytes())

    return serve


def no_home():
    raise RuntimeError("Could not determine home directory.")


class BreaksOff(io.BytesIO):
    def read(self, *arguments):
        raise http.client.IncompleteRead(b"half", 99)


@pytest.mark.parametrize(
    "answer", [BreaksOff(), http.client.BadStatusLine("x"), TimeoutError("timed out")], ids=["cut", "nonsense", "slow"]
)
def test_a_download_that_breaks_off_says_where_the_file_belongs(archive, monkeypatch, answer):
    monkeypatch.delenv("CREDAX_DATA")

    def serve(url, timeout):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(lookup.urllib.request, "urlopen", serve)
    with pytest.raises(FileNotFoundError, match=r"train-images.* cannot be downloaded \(.+\); put the file there"):
        archive.load()


def test_the_data_folder_may_begin_with_a_tilde(archive, tmp_path, monkeypatch):
    (tmp_path / "data").rename(tmp_path / "moved")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CREDAX_DATA", "~/moved")
    assert len(archive.load().test) == 4


def test_a_cache_that_cannot_be_made_does_not_cost_the_download(archive, tmp_path, monkeypatch):
    monkeypatch.delenv("CREDAX_DATA")
    monkeypatch.setattr(lookup.urllib.request, "urlopen", serve_from(tmp_path / "data" / "small"))
    (tmp_path / "home").write_text("a file")
    with pytest.warns(UserWarning, match="was downloaded but not kept"):
        assert len(archive.load().test) == 4
    monkeypatch.setattr(lookup.Path, "home", no_home)
    with pytest.warns(UserWarning, match="no home directory"):
        assert len(archive.load().test) == 4


def test_users_without_a_home_read_the_data_folder(archive, monkeypatch):
    monkeypatch.setattr(lookup.Path, "home", no_home)
    assert len(archive.load().test) == 4
    monkeypatch.delenv("CREDAX_DATA")
    with pytest.raises(FileNotFoundError, match="no home directory and CREDAX_DATA is not set"):
        archive.load()


def test_the_cache_is_where_the_system_wants_caches(archive, tmp_path, monkeypatch):
    monkeypatch.delenv("CREDAX_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(lookup.urllib.request, "urlopen", serve_from(tmp_path / "data" / "small"))
    archive.load()
    assert len(list((tmp_path / "caches" / "credax" / "small").iterdir())) == 4


def test_a_file_that_cannot_be_read_is_not_taken_for_missing(archive, tmp_path):
    path = tmp_path / "data" / "small" / "train-images-idx3-ubyte"
    path.symlink_to(path)  # a loop
    with pytest.raises(OSError, match="is there but cannot be read") as error:
        archive.load()
    assert not isinstance(error.value, FileNotFoundError)


def test_a_damaged_file_without_an_address_is_not_downloaded_again(tmp_path, monkeypatch):
    (tmp_path / "cifar10_subset").mkdir()
    (tmp_path / "cifar10_subset" / "cifar10_first4000_train_first1000_test.npz").write_bytes(b"PK")
    monkeypatch.setenv("CREDAX_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=r"is damaged or another version.*; put a sound copy there"):
        datasets.load("cifar10_subset")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_published_files(name, monkeypatch):
    monkeypatch.setattr(lookup.urllib.request, "urlopen", refuse)
    try:
        data = datasets.load(name)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert data.train.features.shape == (55000, 28, 28)
    assert data.validation.features.shape == (5000, 28, 28)
    assert data.test.features.shape == (10000, 28, 28)
    counts = np.bincount(np.concatenate([data.train.labels, data.validation.labels]))
    # Published: MNIST has between 5421 and 6742 training images of a digit, Fashion-MNIST 6000 of each class.
    assert (counts.min(), counts.max()) == ((5421, 6742) if name == "mnist" else (6000, 6000))
    assert len(data.classes) == 10


# --- MNIST-1D -------------------------------------------------------------------------------------------------------


def test_mnist1d_is_reproducible_and_leaves_the_global_generators_alone():
    before = np.random.get_state()[1].copy()
    first, again = (mnist1d._generate(50, 42, 360) for _ in range(2))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.testing.assert_array_equal(first["x"], again["x"])
    assert (first["x"].shape, first["x_test"].shape) == ((40, 360), (10, 360))
    assert sorted(np.concatenate([first["y"], first["y_test"]])) == sorted([*range(10)] * 5)
    whole = np.concatenate([first["x"], first["x_test"]])
    np.testing.assert_allclose([whole.mean(), whole.std()], [0, 1], atol=1e-12)
    with pytest.raises(ValueError, match="steps must be positive, but is 0"):
        mnist1d.load(0)


# --- CIFAR-10 -------------------------------------------------------------------------------------------------------


def test_the_subset_of_cifar10():
    try:
        data = datasets.load("cifar10_subset")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert data.train.features.shape == (3500, 32, 32, 3)
    assert data.train.features.dtype == np.uint8
    assert [len(split) for split in (data.validation, data.test)] == [500, 1000]
    # The first images of the published sets are a frog and a truck, and a cat and a ship.
    assert [data.classes[label] for label in data.train.labels[:2]] == ["frog", "truck"]
    assert [data.classes[label] for label in data.test.labels[:2]] == ["cat", "ship"]


def test_a_file_that_cannot_be_downloaded_says_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDAX_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        FileNotFoundError, match=r"cannot be downloaded; set CREDAX_DATA to a folder that holds cifar10"
    ):
        datasets.load("cifar10_subset")


def test_mels_of_a_sine():
    """1 kHz of amplitude 1 for a second; the values are independent ones."""
    clip = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    features = speech_commands.log_mels(clip[None])[0]
    assert features.shape == (41, 32)
    assert features[20].argmax() == 11
    np.testing.assert_allclose(features[20, [11, 10]], [15.87286, 15.22492], rtol=1e-6)
    np.testing.assert_allclose([features.mean(), features.std(ddof=1)], [-24.150083, 13.798549], rtol=1e-6)
    normalised = speech_commands.normalised(features[None])
    np.testing.assert_allclose([normalised.mean(), normalised.std(ddof=1)], [0, 1], atol=1e-5)
    with pytest.raises(ValueError, match="longer than 512"):
        speech_commands.log_mels(np.zeros((1, 512)))


@pytest.mark.slow
def test_speakers_are_in_one_split_only():
    try:
        data = datasets.load("speech_commands_subset")
    except FileNotFoundError:
        pytest.skip("no clips at hand")
    splits = (data.train, data.validation, data.test)
    assert [len(split) for split in splits] == [3242, 625, 1023]
    assert all(split.features.shape[1:] == (41, 32) and set(split.labels) == set(range(12)) for split in splits)
