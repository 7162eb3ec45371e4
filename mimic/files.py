"""Writing a file so that it is either the old one or the new one, never half of one, whatever is killed when.

It is built under a temporary name, flushed to the disk and renamed.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import itertools
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mimic.errors import MimicError


def _machine() -> str:
    """Whose process numbers ours are told apart by: of this start of this machine, or of this container on it.

    A host's name alone is not enough: containers, and copies of one machine, often share it, and a network folder.
    """
    try:
        numbers = Path("/proc/sys/kernel/random/boot_id").read_text() + str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        numbers = str(uuid.getnode())
    name = re.sub(r"\W", "_", socket.gethostname())[:40]
    return f"{name}_{hashlib.sha256(numbers.encode()).hexdigest()[:12]}"


_MACHINE = _machine()
_COUNT = itertools.count()
_LEFT = re.compile(r"\.(\w+)-(\d+)-\d+\.tmp(\.\w+)?")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
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
        raise unwritten(path, os.strerror(error.errno)) from error


def temporary_name(path: Path) -> Path:
    """Where to build a file or folder before it takes its name. What killed processes left for that name is removed.

    The name is nobody else's: where a network folder's locks do not work, two machines may be at the same file.
    """
    beginning = f".{path.name}."
    for left in path.parent.glob(f"{glob.escape(beginning)}*"):
        if _abandoned(left, beginning):
            remove(left)
    return path.with_name(f"{beginning}{_MACHINE}-{os.getpid()}-{next(_COUNT)}.tmp")


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


def unwritten(path: Path, why: str) -> MimicError:
    """What cannot be written, and why, as a sentence."""
    return MimicError(f"cannot write {path} ({why}): make room or permit it, then run the same command")


def _abandoned(left: Path, beginning: str) -> bool:
    """Whether whoever was building this is gone."""
    named = _LEFT.fullmatch(left.name[len(beginning) - 1 :])
    if named is None:
        return False
    if named[1] == _MACHINE:
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
