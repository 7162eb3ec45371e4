"""Writing a file so that it is either the old one or the new one, never half of one, whatever is killed when.

JSON and DuckDB files are built under a temporary name, flushed to the disk and renamed. A DuckDB file is never written
again after that: DuckDB lets one process write a file or many read it, and an open reader would block the writer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from mimic.errors import MimicError

# DuckDB 2 reads and writes it; DuckDB 1.5 reads it. A file's version is chosen when the file is made.
STORAGE_VERSION = "v1.5.0"


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
    except ValueError as error:
        raise MimicError(f"{path} is not valid JSON ({error}): restore it, or delete its folder") from None
    if not isinstance(value, dict):
        raise MimicError(f"{path} does not hold a JSON object: restore it, or delete its folder")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object in one step: readers see the old file or the new one."""
    temporary = temporary_name(path)
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
    finish(temporary, path)


def temporary_name(path: Path) -> Path:
    """Where to build a file before it takes its name. A folder has one writer, so one name is enough."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    return temporary


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
    """A connection to a new DuckDB file, which takes its name when the block ends without an error."""
    temporary = temporary_name(path)
    # Its log of unfinished writes: one left by a killed process would be replayed into the new file.
    log = temporary.with_name(temporary.name + ".wal")
    log.unlink(missing_ok=True)
    connection = duckdb.connect(temporary, config={"storage_compatibility_version": STORAGE_VERSION})
    try:
        yield connection
    except BaseException:
        connection.close()
        temporary.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        raise
    connection.close()
    finish(temporary, path)


@contextmanager
def reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection to a finished DuckDB file, closed at the end."""
    connection = duckdb.connect(path, read_only=True)
    try:
        yield connection
    finally:
        connection.close()


def quoted(name: str) -> str:
    """A column's name as SQL writes it, whatever characters it holds."""
    return '"' + name.replace('"', '""') + '"'
