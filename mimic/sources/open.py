"""Which source a path is: tar files are shards, a folder with metadata is Hugging Face's, another folder is a
class-folder tree, and another file is a manifest.
"""

from __future__ import annotations

from pathlib import Path

from mimic.sources.folder import read_folder
from mimic.sources.image_folder import is_image_folder, read_image_folder
from mimic.sources.listing import Listing
from mimic.sources.manifest import read_manifest
from mimic.sources.shards import is_shards, read_shards


def open_source(path: Path, root: Path | None = None, classes: list[str] | None = None) -> Listing:
    """The samples at a path. Arguments and errors as in `read_folder`, `read_manifest`, `read_shards` and so on."""
    if is_shards(path):
        return read_shards(path, root, classes)
    if path.is_file():
        return read_manifest(path, root, classes)
    if is_image_folder(path):
        return read_image_folder(path, root, classes)
    return read_folder(path, root, classes)
