"""Images on their way into an export: found inside the root, given a harmless name, linked or copied.

An image that lies in a tar, or on a server, is always copied: no link leads into a file.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from mimic.errors import MimicError
from mimic.images import Place, UnreadableImage, image_bytes, is_there, locate, read_image
from mimic.reports.exports.options import Images
from mimic.storage import Location, Remote, said_of

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}

_A_FOLDER = 1000  # samples of the data set: directories with a million entries are slow everywhere


def inside(root: Location, row: dict[str, Any]) -> tuple[Place | None, str]:
    """Where a sample's image lies, its file as an absolute path without links; and why there is none.

    What was scored could be read. What was not is opened here: whoever trains on an export meets no broken image.
    """
    path = row["path"]
    if path is None:
        return None, "has no image"
    try:
        found = locate(root, path)
        file = found.file.resolve()
        if isinstance(file, Path) and not file.is_relative_to(str(root.resolve())):
            raise ValueError
    except ValueError:
        return None, "path leads out of the data set's root"
    if not is_there(root, path):
        return None, "file is missing"
    if row["score"] is None:
        try:
            read_image(image_bytes(root, path))
        except UnreadableImage as error:
            return None, str(error)
    return Place(file, found.offset, found.size), ""


def suffix(path: str | None, known: set[str] = SUFFIXES) -> str | None:
    """The image suffix of a path in lower case; None where it is not one of the known."""
    found = PurePosixPath(path or "").suffix.lower()
    return found if found in known else None


def numbered(row: dict[str, Any], ending: str) -> str:
    """A name for a sample's image that any file system takes, whatever the sample is called: by its number."""
    return f"{row['sample'] // _A_FOLDER:06d}/{row['sample']:09d}{ending}"


def read(image: Place) -> bytes:
    """The bytes of an image that is there."""
    with image.file.open("rb") as file:
        file.seek(image.offset)
        return file.read(-1 if image.size is None else image.size)


def place(image: Place, target: Path, how: Images) -> str:
    """Put an image where it shall lie; why it could not be, else nothing.

    Raises:
        MimicError: hard links between two file systems: no sample could be placed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if image.size is not None or isinstance(image.file, Remote):
            target.write_bytes(read(image))
        elif how == "symlink":
            target.symlink_to(image.file)
        elif how == "hardlink":
            os.link(image.file, target)
        else:
            shutil.copyfile(image.file, target)
    except OSError as error:
        if how == "hardlink" and error.errno == 18:  # EXDEV
            raise MimicError(
                f"{image.file} is on another file system than the export, so it cannot be hard-linked: "
                "use --images symlink or copy"
            ) from None
        return f"cannot be written ({said_of(error)})"
    return ""


def place_row(root: Location, row: dict[str, Any], target: Path, how: Images) -> str:
    """`inside` and `place` in one: why the sample's image could not be placed, else nothing."""
    image, reason = inside(root, row)
    return reason if image is None else place(image, target, how)
