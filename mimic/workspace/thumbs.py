"""Pictures for pages: small, made once, kept on disk by the content of the file, so that a moved image keeps its own.

A picture that cannot be read is no error but a reason to show in its place. An image under `SMALL` pixels is kept as
it is, to the pixel: whoever shows it enlarges it without blur. A server that gives no picture is left alone for a
minute, since a page asks again with every click.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from mimic.errors import MimicError
from mimic.files import make_folder, replacing
from mimic.images import UnreachableImage, UnreadableImage, image_bytes, images_bytes, locate, read_image
from mimic.storage import Location, Remote

TILE = 160
SMALL = 64

# What is stored under a content's name depends on this code too: raise it when the pictures change.
_VERSION = 2

_REST = 60.0  # seconds
_AWAY: dict[str, float] = {}  # server → until when it is not asked, by the monotonic clock
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Thumbnail:
    """A picture fit for a page.

    Attributes:
        uri: the picture as a ``data:`` URI; empty where there is none.
        width, height: in pixels, of the picture in `uri`; 0 where there is none.
        reason: why there is none; empty where there is one.
    """

    uri: str
    width: int
    height: int
    reason: str = ""

    @property
    def small(self) -> bool:
        """Whether it is an original so small that it must be enlarged pixel by pixel."""
        return 0 < max(self.width, self.height) < SMALL


def thumbnails(
    root: Location, paths: Sequence[str | None], cache: Path, size: int = TILE, *, enlarge: bool = False
) -> list[Thumbnail]:
    """The pictures of several samples, as `thumbnail` gives them; those of a server's files are fetched together."""
    if isinstance(root, Remote):
        return _remote(root, paths, cache, size, enlarge)
    inside = root.resolve()  # once, for it asks the disk for every part of the path
    return [_local(root, inside, path, cache, size, enlarge) for path in paths]


def thumbnail(root: Location, path: str | None, cache: Path, size: int = TILE, *, enlarge: bool = False) -> Thumbnail:
    """The picture of a sample, at most `size` pixels on its longer side, from the cache where it is there.

    Args:
        root: the data set's root.
        path: the image's path below it, as imported; None: there is no image.
        cache: the workspace's cache folder; a picture that cannot be stored is made again each time.
        enlarge: blow a small original up to about `size`, each pixel a square, for where nobody else would do it so.
    """
    return thumbnails(root, [path], cache, size, enlarge=enlarge)[0]


def _local(root: Path, inside: Path, path: str | None, cache: Path, size: int, enlarge: bool) -> Thumbnail:
    if path is None:
        return Thumbnail("", 0, 0, "no image")
    file = locate(root, path).file
    assert isinstance(file, Path)
    try:
        leads_out = not file.resolve().is_relative_to(inside)
        seen = file.stat()
    except (OSError, ValueError):
        return Thumbnail("", 0, 0, "file is missing")
    if leads_out:
        return Thumbnail("", 0, 0, "path leads out of the data set's root")
    return _made(root, path, seen.st_mtime_ns, seen.st_size, cache, size, enlarge)


def _remote(root: Remote, paths: Sequence[str | None], cache: Path, size: int, enlarge: bool) -> list[Thumbnail]:
    """Stored by URL, not by content: to ask a server whether a file has changed takes as long as to fetch it."""
    stored = {
        path: _place(cache, size, enlarge, hashlib.sha256(f"{root}/{path}".encode()).hexdigest())
        for path in paths
        if path is not None
    }
    found = {path: picture for path, place in stored.items() if (picture := _stored(place)) is not None}
    wanted = [path for path in stored if path not in found]
    reasons: dict[str, str] = {}
    for path, data in zip(wanted, _fetched(root, wanted), strict=True):
        try:
            if isinstance(data, UnreadableImage):
                raise data
            found[path] = _drawn(read_image(data), size, enlarge)
            _store(stored[path], found[path])
        except UnreadableImage as error:
            reasons[path] = str(error)
    return [
        Thumbnail("", 0, 0, "no image")
        if path is None
        else _shown_as(found[path])
        if path in found
        else Thumbnail("", 0, 0, reasons[path])
        for path in paths
    ]


def _fetched(root: Remote, wanted: Sequence[str]) -> Sequence[bytes | UnreadableImage]:
    away = UnreadableImage("server could not be reached")
    if time.monotonic() < _AWAY.get(root.server, 0.0):
        return [away] * len(wanted)
    try:
        fetched = images_bytes(root, wanted, in_haste=True)
    except MimicError as error:  # what reads such a server is not installed
        return [UnreadableImage(str(error))] * len(wanted)
    silent = [each for each in fetched if isinstance(each, UnreachableImage)]
    if not silent or any(isinstance(each, bytes) for each in fetched):
        return fetched
    _LOG.warning("%s could not be reached (%s): it is asked again in %.0f s", root.server, silent[0], _REST)
    _AWAY[root.server] = time.monotonic() + _REST
    return [away if isinstance(each, UnreachableImage) else each for each in fetched]


# A page shows at most 96, a few kilobytes each. The file's time and length stand for its content between two looks.
@lru_cache(maxsize=2048)
def _made(root: Path, path: str, changed: int, length: int, cache: Path, size: int, enlarge: bool) -> Thumbnail:
    try:
        data = image_bytes(root, path)
    except UnreadableImage as error:
        return Thumbnail("", 0, 0, str(error))
    name = hashlib.sha256(data).hexdigest()
    stored = _place(cache, size, enlarge, name)
    picture = _stored(stored)
    if picture is None:
        try:
            picture = _drawn(read_image(data), size, enlarge)
        except UnreadableImage as error:
            return Thumbnail("", 0, 0, str(error))
        _store(stored, picture)
    return _shown_as(picture)


def _shown_as(picture: bytes) -> Thumbnail:
    with Image.open(io.BytesIO(picture)) as image:
        width, height, kind = image.width, image.height, str(image.format).lower()
    return Thumbnail(f"data:image/{kind};base64,{base64.b64encode(picture).decode()}", width, height)


def _place(cache: Path, size: int, enlarge: bool, name: str) -> Path:
    return cache / "thumbs" / f"{_VERSION}-{size}{'-enlarged' * enlarge}" / name[:2] / name


def _stored(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _store(path: Path, picture: bytes) -> None:
    try:
        make_folder(path.parent)
        with replacing(path) as temporary:
            temporary.write_bytes(picture)
    except (OSError, MimicError):
        return  # a cache that cannot be written costs time, nothing else


def _drawn(image: Image.Image, size: int, enlarge: bool) -> bytes:
    image = _shown(image)
    small = max(image.size) < SMALL
    if small and enlarge:
        times = size // max(image.size)
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if small:
        image.save(out, "PNG", optimize=True)
    else:
        image.save(out, "WEBP", quality=80, method=4)
    return out.getvalue()


def _shown(image: Image.Image) -> Image.Image:
    """The same picture in a mode that browsers show: L, RGB or RGBA."""
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    transparent = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "L" if image.mode == "1" else "RGB")
