"""Image files on their way into an export: found inside the root, given a harmless name, linked or copied."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from mimic.errors import MimicError
from mimic.reports.exports.options import Images

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}

_A_FOLDER = 1000  # samples of the data set: directories with a million entries are slow everywhere


def inside(root: Path, path: str) -> tuple[Path | None, str]:
    """The file of a sample as an absolute path without links, and why there is none."""
    file = (root / path).resolve()
    if not file.is_relative_to(root.resolve()):
        return None, "path leads out of the data set's root"
    if not file.is_file():
        return None, "file is missing"
    return file, ""


def suffix(path: str, known: set[str] = SUFFIXES) -> str | None:
    """The image suffix of a path in lower case; None where it is not one of the known."""
    found = PurePosixPath(path).suffix.lower()
    return found if found in known else None


def numbered(row: dict[str, Any], ending: str) -> str:
    """A name for a sample's image that any file system takes, whatever the sample is called: by its number."""
    return f"{row['sample'] // _A_FOLDER:06d}/{row['sample']:09d}{ending}"


def place(file: Path, target: Path, how: Images) -> str:
    """Put an image where it shall lie; why it could not be, else nothing.

    Raises:
        MimicError: hard links between two file systems: no sample could be placed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if how == "symlink":
            target.symlink_to(file)
        elif how == "hardlink":
            os.link(file, target)
        else:
            shutil.copyfile(file, target)
    except OSError as error:
        if how == "hardlink" and error.errno == 18:  # EXDEV
            raise MimicError(
                f"{file} is on another file system than the export, so it cannot be hard-linked: "
                "use --images symlink or copy"
            ) from None
        return f"cannot be written ({error.strerror})"
    return ""


def place_row(root: Path, row: dict[str, Any], target: Path, how: Images) -> str:
    """`inside` and `place` in one: why the sample's image could not be placed, else nothing."""
    file, reason = inside(root, row["path"])
    return reason if file is None else place(file, target, how)
