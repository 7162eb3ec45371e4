"""DuckDB files of a workspace: built whole, and never written again.

DuckDB lets one process write a file or many read it, and an open reader would block the writer. Each block of a file
carries a checksum, so a damaged file is an error when it is read, never another number.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from mimic.errors import MimicError
from mimic.files import replacing, unwritten

# DuckDB 2 reads and writes it; DuckDB 1.5 reads it. A file's version is chosen when the file is made.
STORAGE_VERSION = "v1.5.0"
SAMPLES_FILE = "samples.duckdb"
MEMORY = "1GB"  # of DuckDB while it builds a file; beyond it, it works on the disk, beside that file

_UNWRITTEN = re.compile(r"No space left|File too large|(Could|Can) ?not (write|sync|truncate|create)")


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
            raise unwritten(path, os.strerror(errno.ENOSPC) if full else _short(error)) from error


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


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
