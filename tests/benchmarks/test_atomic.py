import os
import threading

import pytest

from benchmarks import atomic


def test_many_threads_write_one_file(tmp_path):
    """Each sees a whole file, and no draft is left."""
    path, errors = tmp_path / "file", []
    contents = [bytes([number]) * 10_000 for number in range(8)]

    def write(content):
        try:
            for _ in range(20):
                atomic.write_bytes(path, content)
                assert path.read_bytes() in contents
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_no_draft(tmp_path, monkeypatch):
    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_bytes(tmp_path / "file", b"new")
    assert list(tmp_path.iterdir()) == []


def test_the_name_is_as_durable_as_the_content(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    atomic.write_bytes(tmp_path / "file", b"new")
    assert synced == [(tmp_path / "file").stat().st_ino, tmp_path.stat().st_ino]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot be made .*file/deep") as error:
        atomic.make_folder(tmp_path / "file" / "deep")
    assert type(error.value).__name__ == "FileFault"
