"""Where the files of a data set are found: `$CREDAX_DATA`, then the cache, `~/.cache/credax`, then the network."""

import gzip
import hashlib
import http.client
import os
import urllib.request
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.atomic import make_folder, write_bytes
from benchmarks.cache import cache_folder
from benchmarks.errors import CredaxError, FileFault, InvalidInput, MissingFile


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
    """The unpacked bytes of `file`, from the first folder that has it, else downloaded into the cache.

    A download that cannot be kept, since the cache cannot be written or there is no home for it, is used all the same,
    with a warning.

    **Raises:** `ValueError` if the file that was found is damaged or another version; `FileNotFoundError` if it is
    nowhere and cannot be downloaded; `OSError` if it is there and cannot be read.
    """
    cache = cache_folder()
    folders = [folder / dataset for folder in (_data_folder(), cache) if folder is not None]
    for folder in folders:
        for path in (folder / file.name, folder / f"{file.name}.gz"):
            content = _read(path)
            if content is not None:
                remedy = "put a sound copy there" if file.url is None else "delete it, and it is downloaded again"
                return _unpack(content, file, str(path), remedy)
    if file.url is None:
        raise MissingFile(f"{_missing(dataset, file, folders)}, and it cannot be downloaded; {_remedy(dataset, file)}")
    packed = _download(dataset, file, file.url, folders)
    unpacked = _unpack(packed, file, file.url, "try again later, or get the file elsewhere")
    _keep(packed, file, None if cache is None else cache / dataset)
    return unpacked


def _data_folder() -> Path | None:
    data = os.environ.get("CREDAX_DATA")
    if not data:
        return None
    try:
        return Path(data).expanduser()
    except RuntimeError as error:
        raise InvalidInput(f"CREDAX_DATA = {data} cannot be expanded ({error}); give the whole path") from error


def _read(path: Path) -> bytes | None:
    """The file's content, or None where there is no such file."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise FileFault(error.errno, f"The file is there but cannot be read ({error.strerror})", str(path)) from error


def _keep(packed: bytes, file: File, folder: Path | None) -> None:
    try:
        if folder is None:
            raise InvalidInput("there is no home directory; set XDG_CACHE_HOME or CREDAX_DATA")
        make_folder(folder)
        write_bytes(folder / f"{file.name}.gz", packed)
    except CredaxError as error:
        message = f"{file.name} was downloaded but not kept ({error}), and is downloaded again next time."
        warnings.warn(message, stacklevel=2)


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
    # URLError, HTTPError and time-outs are OSErrors; an answer that breaks off or makes no sense is an HTTPException.
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise MissingFile(
            f"{_missing(dataset, file, folders)}, and {url} cannot be downloaded ({reason}); put the file there, or "
            f"{_remedy(dataset, file)}"
        ) from error


def _missing(dataset: str, file: File, folders: list[Path]) -> str:
    places = " or ".join(map(str, folders)) or "any folder, as there is no home directory and CREDAX_DATA is not set"
    return f"{file.name} (or {file.name}.gz) of the data set {dataset} is not in {places}"


def _remedy(dataset: str, file: File) -> str:
    return f"set CREDAX_DATA to a folder that holds {dataset}/{file.name}.gz"
