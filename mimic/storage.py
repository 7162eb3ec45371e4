"""Folders and files that do not lie on this machine: s3://, gs://, hf://, through fsspec.

`Remote` has the few things of `pathlib.Path` that sources and scoring need, so that both are used alike. Only the
user's own words (a path or `--root`) ever become a location: what a manifest or a tar calls its files is looked for
below it, on the same server.

What a server refuses for now (throttling, a dropped connection) is asked for again, with a pause that grows; so is each
file of a batch alone. What is refused for good is an OSError that says why. A run is patient; whoever looks at a page
is not, so pictures are asked for in haste.
"""

from __future__ import annotations

import io
import logging
import os
import posixpath
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar, cast

from mimic.errors import MimicError, MissingExtra

# Scheme → the extra that brings it. "memory" is fsspec's own, for tests.
_BROUGHT_BY = {"s3": "s3", "gs": "gs", "hf": "hf", "memory": ""}
# Many small files at once; botocore's own retries would multiply with those here, as would s3fs's.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {
        "config_kwargs": {"max_pool_connections": 64, "connect_timeout": 4, "retries": {"total_max_attempts": 1}},
    }
}
ATTEMPTS, IN_HASTE = 6, 3
_PAUSE = 0.5  # seconds before the second attempt; doubled each time
# Seconds until nothing is asked for again, in haste and else: Google's and the Hub's clients ask again by themselves,
# and wait as long as their servers say.
_SOON, _LONG = 3.0, 60.0
_NO_ANSWER = 15.0  # seconds in haste until nobody is waited for
_AT_ONCE = 16  # files of a client that asks for one at a time
_BLOCK = 8 << 20  # bytes asked for at once where a file is read from front to end

_T = TypeVar("_T")


@dataclass(frozen=True)
class Remote:
    """A file or folder on a server.

    Attributes:
        url: without a slash at the end, e.g. ``s3://bucket/images``.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, path: str) -> Remote:
        """Something below it.

        Raises:
            ValueError: the path leads out of it.
        """
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError("path leads out of the root")
        return Remote(f"{self.url}/{path}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def server(self) -> str:
        """What holds it, e.g. ``s3://bucket``."""
        return "/".join(self.url.split("/")[:3])

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> Remote:
        return Remote(self.url.rpartition("/")[0])

    def resolve(self) -> Remote:
        return self

    def expanduser(self) -> Remote:
        return self

    def exists(self) -> bool:
        return self._kind() is not None

    def is_file(self) -> bool:
        return self._kind() == "file"

    def is_dir(self) -> bool:
        return self._kind() == "directory"

    def size(self) -> int:
        """In bytes.

        Raises:
            OSError: it is not there, or cannot be asked.
        """
        size = _patiently(lambda: self._files.size(self._path))
        if size is None:
            raise OSError(f"{self.url}: the server does not say how long it is")
        return int(size)

    def find(self) -> list[str]:
        """The paths of all files below it, relative to it; in no order."""
        names = _patiently(lambda: self._files.find(self._path))
        return [name.removeprefix(self._path).lstrip("/") for name in names]

    def children(self) -> tuple[list[str], list[str]]:
        """The names of the files and of the folders right in it, sorted."""
        found = _patiently(lambda: self._files.ls(self._path, detail=True))
        names = [(each["name"].rstrip("/").rpartition("/")[2], each["type"] == "directory") for each in found]
        return sorted(n for n, folder in names if not folder), sorted(n for n, folder in names if folder)

    def open(self, mode: str = "rb") -> BinaryIO:
        """The file, to be read in blocks as one goes along.

        Raises:
            OSError: it is not there, or cannot be asked.
        """
        return io.BufferedReader(_Blocks(self), _BLOCK)

    def relative(self, path: str) -> str:
        """A path relative to it, with forward slashes.

        Args:
            path: relative to it, or a URL below it. The file need not exist.

        Raises:
            ValueError: it leads out.
        """
        inside = path.removeprefix(f"{self.url}/")
        normal = posixpath.normpath(inside)
        if "://" in inside or normal.startswith("/") or normal.partition("/")[0] == ".." or "\0" in normal:
            raise ValueError("path leads out of the root")
        return normal

    def _kind(self) -> str | None:
        """What it is, or None where nothing is there. The clients' own `isfile` takes a server in trouble for "no"."""
        try:
            return str(_patiently(lambda: self._files.info(self._path))["type"])
        except FileNotFoundError:
            return None

    @property
    def _files(self) -> Any:
        return _filesystem(self.url.partition("://")[0])

    @property
    def _path(self) -> str:
        return str(self._files._strip_protocol(self.url))


Location: TypeAlias = Path | Remote


@contextmanager
def reached(place: Location | None) -> Iterator[None]:
    """Around what is done with a user's own location: a server that cannot be asked is a sentence."""
    try:
        yield
    except OSError as error:
        if not isinstance(place, Remote):
            raise
        raise MimicError(
            f"{place} cannot be read ({said_of(error)}): check the address, the network and your keys for it"
        ) from None


def children(folder: Location) -> tuple[list[str], list[str]]:
    """The names of the files and of the folders right in a folder, sorted.

    Raises:
        MimicError: a folder of this machine that cannot be read.
    """
    if isinstance(folder, Remote):
        return folder.children()
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:  # says what each is without asking for every one of millions
            for entry in entries:
                with suppress(OSError):  # a link to itself
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.is_file():
                        files.append(entry.name)
    except OSError as error:
        raise MimicError(f"{folder} cannot be read ({error.strerror}): check its permissions") from None
    return sorted(files), sorted(folders)


def location(text: str) -> Location:
    """What a user's words name: a path, or a URL of a kind that is known here.

    Raises:
        MimicError: a URL of another kind.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(text)
    if scheme == "file":
        return Path(rest)
    if scheme not in _BROUGHT_BY or "::" in text:
        raise MimicError(f"{text} is of no kind that is read here: use s3://, gs://, hf:// or a path")
    return Remote(text.rstrip("/"))


def read_ranges(wanted: Sequence[tuple[Remote, int, int]], in_haste: bool = False) -> list[bytes | OSError]:
    """Pieces of files, asked for at the same time.

    Args:
        wanted: (file, first byte, how many bytes at most) of each, all of one server.
        in_haste: somebody waits for them: give up within seconds where the server does not answer.

    Returns:
        The bytes of each, or why they cannot be had.
    """
    got: dict[int, bytes | OSError] = {}
    left, began = list(range(len(wanted))), time.monotonic()
    for attempt in range(IN_HASTE if in_haste else ATTEMPTS):
        if attempt:
            if time.monotonic() - began > (_SOON if in_haste else _LONG):
                break
            _pause(attempt)
        asked = _asked([wanted[place] for place in left], _NO_ANSWER if in_haste else None)
        for place, each in zip(left, asked, strict=True):
            got[place] = each if isinstance(each, bytes) else _error(each)
        left = [place for place in left if isinstance(each := got[place], OSError) and passes(each)]
        if not left:
            break
    return [got[place] for place in range(len(wanted))]


def _asked(wanted: Sequence[tuple[Remote, int, int]], seconds: float | None) -> list[bytes | Exception]:
    files = wanted[0][0]._files
    # One request a file: without an end, some servers would be asked for its size first.
    ranges = [(file._path, first, first + count) for file, first, count in wanted]
    try:
        if files.async_impl:
            names, firsts, ends = map(list, zip(*ranges, strict=True))
            return list(files.cat_ranges(names, firsts, ends, on_error="return", timeout=seconds))
        pool = ThreadPoolExecutor(_AT_ONCE)
        try:
            return list(pool.map(partial(_one_range, files), ranges, timeout=seconds))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    except TimeoutError:
        return [OSError(f"no answer within {seconds:g} s")] * len(wanted)
    except Exception as error:  # whatever the server's client raises, as for a single file
        return [error] * len(wanted)


def _one_range(files: Any, wanted: tuple[str, int, int]) -> bytes | Exception:
    try:
        return bytes(files.cat_file(*wanted, cache_type="none"))  # and not the 5 MB after it
    except Exception as error:
        return error


class _Blocks(io.RawIOBase):
    """A file as `io.BufferedReader` wants it."""

    def __init__(self, file: Remote) -> None:
        self._file, self._length, self._place = file, file.size(), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._length}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._length - self._place)
        if count <= 0:
            return 0
        (data,) = read_ranges([(self._file, self._place, count)])
        if isinstance(data, OSError):
            raise data
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def _filesystem(scheme: str) -> Any:
    """fsspec's, which keeps one a process, and makes a new one in a fork.

    Raises:
        MissingExtra: what reads such URLs is not installed.
    """
    import fsspec

    # Else gcsfs asks by gRPC of what kind a bucket is, before every request where that is not allowed.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    # It logs a traceback for each request that fails, which we ask again or say.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    try:
        files = fsspec.filesystem(scheme, **_OPTIONS.get(scheme, {}))
        files.retries = 1  # of s3fs
        return files
    except ImportError:
        raise MissingExtra(f"{scheme}://", _BROUGHT_BY[scheme]) from None


def _patiently(ask: Callable[[], _T]) -> _T:
    began = time.monotonic()
    for attempt in range(ATTEMPTS):
        if attempt:
            _pause(attempt)
        try:
            return ask()
        except MimicError:
            raise
        except Exception as error:  # botocore's, aiohttp's, … : each client has errors of its own
            found = _error(error)
            if not passes(found) or attempt == ATTEMPTS - 1 or time.monotonic() - began > _LONG:
                raise found from None
    raise AssertionError("unreachable")


def _error(error: Exception) -> OSError:
    words = (str(error).splitlines() or [""])[0][:160] or type(error).__name__
    # The Hub's errors have the answer with them, gcsfs's its status.
    status = getattr(getattr(error, "response", None), "status_code", getattr(error, "code", None))
    # botocore's NoCredentialsError, google-auth's DefaultCredentialsError, …
    if status in (401, 403) or words.startswith("Forbidden: ") or "Credentials" in type(error).__name__:
        return PermissionError(words)
    return error if isinstance(error, OSError) else OSError(words)


def passes(error: OSError) -> bool:
    """Whether the same may work a moment later."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    return not begins_beyond(error)


def begins_beyond(error: OSError) -> bool:
    """Whether a server had no byte from where it was asked on."""
    said = str(error).lower()
    return any(words in said for words in ("invalidrange", "range is not satisfiable", "range not satisfiable"))


def _pause(attempt: int) -> None:
    time.sleep(_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # not all readers again at the same moment


def said_of(error: OSError) -> str:
    """Why, in a few words fit to be counted."""
    return (
        cast(str, getattr(error, "strerror", None))
        or (str(error).splitlines() or [""])[0][:160]
        or (type(error).__name__)
    )
