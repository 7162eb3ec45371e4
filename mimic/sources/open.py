"""Which source a path is: tar files are shards, a folder with metadata or saved by `save_to_disk` is Hugging Face's,
another folder is a class-folder tree, a JSON file is COCO's, and another file is a manifest.
"""

from __future__ import annotations

from pathlib import Path

from mimic.errors import MimicError
from mimic.sources.coco import is_coco, read_coco
from mimic.sources.folder import read_folder
from mimic.sources.huggingface import is_hugging_face, read_hugging_face
from mimic.sources.image_folder import is_image_folder, read_image_folder
from mimic.sources.listing import Listing
from mimic.sources.manifest import READERS, read_manifest
from mimic.sources.shards import is_shards, read_shards
from mimic.storage import Location, Remote


def open_source(
    path: Location, root: Location | None = None, classes: list[str] | None = None, into: Path | None = None
) -> Listing:
    """The samples at a path.

    Args:
        path: the file or folder, here or on a server.
        root, classes: see `read_folder`, `read_manifest` and so on, which also say what errors there are.
        into: where images are copied to that lie where none can be read alone (Hugging Face's Parquet).
    """
    if is_shards(path):
        return read_shards(path, root, classes)
    if is_hugging_face(path):
        if root is not None:
            raise MimicError(f"{path} has its images inside: leave --root out")
        return read_hugging_face(path, into, classes)
    if isinstance(path, Remote):
        return _open_remote(path, root, classes)
    if is_coco(path):
        return read_coco(path, root)
    if path.is_file():
        return read_manifest(path, root, classes)
    if is_image_folder(path):
        return read_image_folder(path, root, classes)
    return read_folder(path, root, classes)


def _open_remote(path: Remote, root: Location | None, classes: list[str] | None) -> Listing:
    """What is on a server, but for shards and Parquet with images: Arrow files and COCO's are read here only."""
    if path.suffix.lower() in READERS:
        return read_manifest(path, root, classes)
    if is_image_folder(path):
        return read_image_folder(path, root, classes)
    return read_folder(path, root, classes)
