"""Which source a path is: a folder is a class-folder tree, a file is a manifest."""

from __future__ import annotations

from pathlib import Path

from mimic.sources.folder import read_folder
from mimic.sources.listing import Listing
from mimic.sources.manifest import read_manifest


def open_source(path: Path, root: Path | None = None, classes: list[str] | None = None) -> Listing:
    """The samples at a path. Arguments and errors as in `read_folder` and `read_manifest`."""
    if path.is_file():
        return read_manifest(path, root, classes)
    return read_folder(path, root, classes)
