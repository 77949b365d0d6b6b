"""Where the files of a data set are found: `$CREDAX_DATA`, then `~/.cache/credax`, then the network."""

import gzip
import hashlib
import os
import urllib.request
import zlib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.atomic import write_bytes
from benchmarks.errors import InvalidInput, MissingFile


@dataclass(frozen=True)
class File:
    """One file of a data set.

    **Arguments:**

    - `name`: without the `.gz` that it may carry on disk.
    - `sha256`: of the unpacked bytes, because packers differ.
    - `url`: where to download it, packed by gzip; None if it is nowhere.
    """

    name: str
    sha256: str
    url: str | None


def read(dataset: str, file: File) -> bytes:
    """The unpacked bytes of `file`, from the first folder that has it, else downloaded into `~/.cache/credax/DATASET`.

    **Raises:** `ValueError` if the file that was found is damaged or another version; `FileNotFoundError` if it is
    nowhere and cannot be downloaded.
    """
    folders = _folders(dataset)
    for folder in folders:
        for path in (folder / file.name, folder / f"{file.name}.gz"):
            if path.is_file():
                return _unpack(path.read_bytes(), file, str(path), "delete it, and it is downloaded again")
    if file.url is None:
        raise MissingFile(f"{_missing(dataset, file, folders)}, and it cannot be downloaded; {_remedy(dataset, file)}")
    packed = _download(dataset, file, file.url, folders)
    unpacked = _unpack(packed, file, file.url, "try again later, or get the file elsewhere")
    folders[-1].mkdir(parents=True, exist_ok=True)
    write_bytes(folders[-1] / f"{file.name}.gz", packed)
    return unpacked


def _folders(dataset: str) -> list[Path]:
    cache = Path.home() / ".cache" / "credax" / dataset
    data = os.environ.get("CREDAX_DATA")
    return [Path(data) / dataset, cache] if data else [cache]


def _unpack(content: bytes, file: File, origin: str, remedy: str) -> bytes:
    try:
        unpacked = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (EOFError, OSError, zlib.error) as error:
        raise InvalidInput(f"{origin} is damaged ({error}); {remedy}") from error
    found = hashlib.sha256(unpacked).hexdigest()
    if found != file.sha256:
        raise InvalidInput(
            f"{origin} is damaged or another version: the SHA-256 of its unpacked bytes is {found}, "
            f"not {file.sha256}; {remedy}"
        )
    return unpacked


def _download(dataset: str, file: File, url: str, folders: list[Path]) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.read()
    except OSError as error:  # URLError, HTTPError and time-outs are OSErrors
        raise MissingFile(
            f"{_missing(dataset, file, folders)}, and {url} cannot be downloaded ({error}); put the file there, or "
            f"{_remedy(dataset, file)}"
        ) from error


def _missing(dataset: str, file: File, folders: list[Path]) -> str:
    return f"{file.name} (or {file.name}.gz) of the data set {dataset} is not in {' or '.join(map(str, folders))}"


def _remedy(dataset: str, file: File) -> str:
    return f"set CREDAX_DATA to a folder that holds {dataset}/{file.name}.gz"
