"""A class-folder tree, as torchvision's ImageFolder reads it: ROOT/<class>/**/<image>, the folder's name is the label.

A tree whose top folders are all splits (train, val, …) holds the classes one level lower.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mimic.data import Sample
from mimic.errors import MimicError
from mimic.images import SUFFIXES
from mimic.sources.listing import Found, Listing, Root, class_order
from mimic.storage import Location, Remote

# Folders below one another, and links on the way to one: a few linked to one another have more ways than time.
_DEEPEST, _LINKS = 100, 2
SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test"})


def read_folder(path: Location, root: Location | None = None, classes: list[str] | None = None) -> Listing:
    """The images of a class-folder tree, in the order of their paths.

    Args:
        path: the folder that holds one folder a class.
        root: what paths are relative to, if not `path`: needed only where links lead out of `path`.
        classes: class names in the order wanted; by default `class_order` of the folders' names.

    Raises:
        MimicError: no such folder; no images in class folders; a link out of the root.
    """
    if not path.exists():
        raise MimicError(f"{path} does not exist: give a class-folder tree or a manifest (CSV, JSONL, Parquet)")
    allowed = Root(root or path)
    skipped = Found()
    images = (
        _remote_images(path, allowed, skipped)
        if isinstance(path, Remote)
        else _images(path.resolve(), allowed, skipped)
    )
    found = [
        Sample(number, relative, relative, label=label, split=split)
        for number, (relative, label, split) in enumerate(images)
    ]
    if not found:
        raise MimicError(
            f"{path} holds no images in class folders: it needs FOLDER/<class>/<image>, "
            f"with one of the endings {', '.join(sorted(SUFFIXES))}"
        )
    names = classes or class_order(sample.label for sample in found if sample.label is not None)
    return Listing("folder", path.resolve(), allowed.path, names, lambda: iter(found), found=skipped)


def _images(top: Path, allowed: Root, skipped: Found) -> Iterator[tuple[str, str, str | None]]:
    """(path relative to the root, class, split) of every image, in order; other files are noted in `skipped`."""
    folders = [entry for entry in _sorted(top) if _is_folder(entry) and not entry.name.startswith(".")]
    by_split = bool(folders) and all(folder.name.lower() in SPLITS for folder in folders)
    for folder in folders:
        split = folder.name if by_split else None
        for place in _class_folders(folder) if by_split else [folder]:
            for file in _files(place.path, skipped):
                if Path(file).suffix.lower() in SUFFIXES:
                    yield allowed.relative(file), place.name, split
                else:
                    skipped.add("files that are no images by name", file)


def _remote_images(top: Remote, allowed: Root, skipped: Found) -> Iterator[tuple[str, str, str | None]]:
    """The same of a folder on a server, which gives all names at once and knows no links."""
    split_up = (name.split("/") for name in top.find())
    names = sorted(parts for parts in split_up if not any(each.startswith(".") for each in parts))
    folders = {parts[0] for parts in names if len(parts) > 1}
    by_split = bool(folders) and all(folder.lower() in SPLITS for folder in folders)
    for parts in names:
        if len(parts) < 2 + by_split:
            continue
        file = f"{top}/{'/'.join(parts)}"
        if not _is_text(file):
            raise MimicError(f"{file!r} has a name that is not valid UTF-8: rename it")
        if os.path.splitext(file)[1].lower() in SUFFIXES:  # noqa: PTH122 (a URL)
            yield allowed.relative(file), parts[by_split], parts[0] if by_split else None
        else:
            skipped.add("files that are no images by name", file)


def _class_folders(split: os.DirEntry[str]) -> list[os.DirEntry[str]]:
    return [entry for entry in _sorted(Path(split.path)) if _is_folder(entry) and not entry.name.startswith(".")]


def _files(folder: str, skipped: Found, above: tuple[str, ...] = (), links: int = 0) -> Iterator[str]:
    """Every file below a folder, in order; a link back to a folder above is not followed again."""
    real = os.path.realpath(folder)
    if real in above:
        return
    if len(above) == _DEEPEST:
        raise MimicError(f"{folder} lies more than {_DEEPEST} folders below its class: move it up")
    for entry in _sorted(Path(folder)):
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            followed = links + entry.is_symlink()
            if followed > _LINKS:
                skipped.add(f"folders behind more than {_LINKS} links", entry.path)
                continue
            yield from _files(entry.path, skipped, (*above, real), followed)
        else:
            yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _sorted(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise MimicError(f"{folder} cannot be read ({error.strerror}): check its permissions") from None
    for entry in listed:
        if not _is_text(entry.name):
            raise MimicError(f"{entry.path!r} has a name that is not valid UTF-8: rename it")
    return listed


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
