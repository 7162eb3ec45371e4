"""Images that somebody has downloaded: which file of a cache is the one of a row with a URL and no path.

Found by name below the root, whatever its ending: a row's ``key``, as img2dataset calls its files (000000017.jpg), else
the SHA-256, SHA-1 or MD5 of the URL in hexadecimal. Nothing is ever fetched: a row without such a file keeps the name
that it would have, and counts as missing when it is scored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

import pyarrow as pa

from mimic.errors import MimicError
from mimic.images import SUFFIXES
from mimic.sources.listing import Found
from mimic.storage import Location, Remote

_DIGESTS = ("sha256", "sha1", "md5")
COLUMNS = ("url", "key")


def has_cached(table: pa.Table) -> bool:
    """Whether a table without a path names its images by URL."""
    return "url" in table.column_names


def with_paths(path: Location, table: pa.Table, root: Location, found: Found) -> pa.Table:
    """The table with a column ``path`` of the cached files, relative to the root.

    Args:
        path: the manifest, for errors.
        table: with a column ``url``, perhaps ``key``, and no path.
        root: the cache's folder.
        found: told of URLs without a file.

    Raises:
        MimicError: not one of the files is there; a row without a URL.
    """
    files = _by_name(root)
    urls, keys = (
        table[name].cast(pa.string()).to_pylist() if name in table.column_names else [None] * table.num_rows
        for name in COLUMNS
    )
    paths, there = [], 0
    for row, (url, key) in enumerate(zip(urls, keys, strict=True)):
        if not url:
            raise MimicError(f"row {row + 1} of {path} has neither a path nor a URL: every row needs one")
        names = [key] if key else [hashlib.new(kind, url.encode()).hexdigest() for kind in _DIGESTS]
        file = next((files[name] for name in names if name in files), None)
        there += file is not None
        if file is None:
            found.add("URLs without a file in the cache (nothing is downloaded)", url)
        paths.append(file or PurePath(names[0]).name)
    if not there:
        raise MimicError(
            f"{path} has URLs and no path, and {root} holds none of their images: give the folder where they were "
            "downloaded to with --root, its files named by key or by the SHA-256 of the URL"
        )
    return table.append_column("path", pa.array(paths, pa.string()))


def _by_name(root: Location) -> dict[str, str]:
    """Every image below a folder by its name without the ending: its path relative to the folder."""
    found: dict[str, str] = {}
    for path in sorted(root.find()) if isinstance(root, Remote) else _walked(root):
        stem, ending = os.path.splitext(path.rpartition("/")[2])  # noqa: PTH122 (millions of names)
        if ending.lower() in SUFFIXES or not ending:
            found.setdefault(stem, path)
    return found


def _walked(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            yield os.path.relpath(f"{folder}/{file}", root).replace(os.sep, "/")
