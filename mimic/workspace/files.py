"""Writing a file so that it is either the old one or the new one, never half of one, whatever is killed when.

JSON and DuckDB files are built under a temporary name, flushed to the disk and renamed. A DuckDB file is never written
again after that: DuckDB lets one process write a file or many read it, and an open reader would block the writer. Each
of its blocks carries a checksum, so a damaged file is an error when it is read, never another number.
"""

from __future__ import annotations

import errno
import glob
import itertools
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from mimic.errors import MimicError

# DuckDB 2 reads and writes it; DuckDB 1.5 reads it. A file's version is chosen when the file is made.
STORAGE_VERSION = "v1.5.0"
SAMPLES_FILE = "samples.duckdb"
MEMORY = "1GB"  # of DuckDB while it builds a file; beyond it, it works on the disk, beside that file

_HOST = re.sub(r"\W", "_", socket.gethostname())[:40]
_COUNT = itertools.count()
_LEFT = re.compile(r"\.(\w+)-(\d+)-\d+\.tmp(\.\w+)?")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_UNWRITTEN = re.compile(r"No space left|File too large|(Could|Can) ?not (write|sync|truncate|create)")
_DAY = 86_400.0  # seconds after which what another machine has left is nobody's


def make_folder(folder: Path) -> Path:
    """Make a folder with its parents, or say in one sentence why it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MimicError(
            f"cannot make the folder {folder} ({error.strerror}): choose a place you may write to, with --workspace"
        ) from None
    if not os.access(folder, os.W_OK):
        raise MimicError(f"no permission to write in {folder}: choose a place you may write to, with --workspace")
    return folder


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of ours.

    Raises:
        MimicError: it is not valid JSON, or not an object.
        FileNotFoundError: there is no such file.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise MimicError(f"{path} is not valid JSON ({error}): restore it, or delete its folder") from None
    if not isinstance(value, dict):
        raise MimicError(f"{path} does not hold a JSON object: restore it, or delete its folder")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object in one step: readers see the old file or the new one."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a file; it takes its name when the block ends without an error, and is removed otherwise.

    Raises:
        MimicError: no room to write it, or no permission.
    """
    with needing_room(path):
        temporary = temporary_name(path)
        try:
            yield temporary
            finish(temporary, path)
        except BaseException:
            remove(temporary)
            raise


@contextmanager
def needing_room(path: Path) -> Iterator[None]:
    """Around writing a file or folder: a full or read-only disk is said in a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise MimicError(_unwritten(path, os.strerror(error.errno))) from error


def temporary_name(path: Path) -> Path:
    """Where to build a file or folder before it takes its name. What killed processes left for that name is removed.

    The name is nobody else's: where a network folder's locks do not work, two machines may be at the same file.
    """
    beginning = f".{path.name}."
    for left in path.parent.glob(f"{glob.escape(beginning)}*"):
        if _abandoned(left, beginning):
            remove(left)
    return path.with_name(f"{beginning}{_HOST}-{os.getpid()}-{next(_COUNT)}.tmp")


def remove(path: Path) -> None:
    """Remove a temporary file or folder, with what DuckDB keeps beside it; nothing happens where there is none."""
    for each in (path, *path.parent.glob(f"{glob.escape(path.name)}.*")):
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each, ignore_errors=True)
        else:
            each.unlink(missing_ok=True)


def finish(temporary: Path, path: Path) -> None:
    """Flush a complete file to the disk and give it its name."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)  # the rename itself lives in the folder
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def building(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a new DuckDB file, which takes its name when the block ends without an error.

    Raises:
        MimicError: no room to write it.
    """
    with replacing(path) as temporary:
        config: dict[str, str | bool | int | float | list[str]] = {
            "storage_compatibility_version": STORAGE_VERSION,
            "memory_limit": MEMORY,
            "temp_directory": f"{temporary}.spill",
        }
        try:
            with duckdb.connect(temporary, config=config) as connection:
                connection.execute("SET enable_progress_bar = false")  # it goes to standard output
                yield connection
                connection.execute("CHECKPOINT")  # closing does it too, but says nothing where there is no room for it
        except duckdb.Error as error:
            # memory that would have gone to the disk
            if not _UNWRITTEN.search(str(error)) and not isinstance(error, duckdb.OutOfMemoryException):
                raise
            full = "No space left" in str(error)
            raise MimicError(_unwritten(path, os.strerror(errno.ENOSPC) if full else _short(error))) from error


@contextmanager
def reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to a finished DuckDB file, closed at the end.

    Raises:
        MimicError: the file is damaged or gone.
    """
    with naming_damage(path):
        connection = duckdb.connect(path, read_only=True)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def naming_damage(*paths: Path) -> Iterator[None]:
    """Around the reading of finished DuckDB files: one that is damaged or gone is named, with what brings it back."""
    try:
        yield
    except duckdb.Error as error:
        if not _is_damage(error):
            raise
        # DuckDB does not say which; what is gone or cannot be read through is.
        found = next((path for path in paths if not is_sound(path)), paths[0])
        raise MimicError(f"{found} is damaged ({_short(error)}): {how_to_mend(found)}") from error


def how_to_mend(path: Path) -> str:
    """What brings a finished DuckDB file back, as the end of a sentence."""
    if path.name == SAMPLES_FILE:
        return "import the same source again, which writes it anew"
    return "run the command that made the run again, which builds it anew from the run's parts"


def is_sound(path: Path) -> bool:
    """Whether a finished DuckDB file is there and every row of it can be read: takes a second or so a gigabyte."""
    try:
        connection = duckdb.connect(path, read_only=True)
    except duckdb.Error:
        return False
    with connection:
        try:
            for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                connection.execute(f"SELECT bit_xor(hash(COLUMNS(*))) FROM {quoted(table)}").fetchall()
        except duckdb.Error:
            return False
    return True


def quoted(name: str) -> str:
    """A column's name as SQL writes it, whatever characters it holds."""
    return '"' + name.replace('"', '""') + '"'


def _is_damage(error: duckdb.Error) -> bool:
    """Whether a finished file could not be read as it was written."""
    unreadable = isinstance(error, duckdb.IOException | duckdb.SerializationException)
    return "Corrupt" in str(error) or (unreadable and not _UNWRITTEN.search(str(error)))


def _unwritten(path: Path, why: str) -> str:
    return f"cannot write {path} ({why}): make room or permit it, then run the same command"


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


def _abandoned(left: Path, beginning: str) -> bool:
    """Whether whoever was building this is gone."""
    named = _LEFT.fullmatch(left.name[len(beginning) - 1 :])
    if named is None:
        return False
    if named[1] == _HOST:
        return not _is_alive(int(named[2]))
    try:
        return time.time() - left.stat().st_mtime > _DAY
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
